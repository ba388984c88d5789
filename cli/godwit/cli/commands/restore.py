"""`godwit restore`: a control plane on this machine from a file of `godwit backup`."""

from pathlib import Path
from typing import Annotated

import typer
from godwit.cli import own_plane

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file of `godwit backup`.")],
    end_orphans: Annotated[
        bool,
        typer.Option("--end-orphans", help="End machines bought since that do not come back in a quarter of an hour."),
    ] = False,
    over_newer: Annotated[
        bool, typer.Option("--over-newer", help="Replace what is newer, or another's; it is kept beside.")
    ] = False,
    home: own_plane.HomeOption = None,
) -> None:
    """Make the control plane of this machine what it was when FILE was written. It must be down.

    Once it is up again, nothing starts before all that it does not know of has certainly ended; see docs/operations.md.
    """
    wishes = ["--end-orphans"] * end_orphans + ["--over-newer"] * over_newer
    own_plane.run("restore", home, str(file.absolute()), *wishes)
