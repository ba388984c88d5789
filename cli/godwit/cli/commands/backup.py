"""`godwit backup`: the state of the control plane of this machine in one file, while it serves."""

from pathlib import Path
from typing import Annotated

import typer
from godwit.cli import own_plane

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; must not exist.")],
    home: own_plane.HomeOption = None,
) -> None:
    """Write the database, the keys and the workdirs of this machine's control plane into one checked file.

    It may serve meanwhile. The file opens everything: only its owner may read it. Logs and checkpoints are not in it.
    """
    own_plane.run("backup", home, str(file.absolute()))
