"""`godwit orphans`: machines that were bought after the backup from which the database was restored."""

from typing import Annotated

import typer
from godwit.cli import own_plane

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def orphans(
    end: Annotated[bool, typer.Option("--end", help="End them, at the next look at their clouds.")] = False,
    home: own_plane.HomeOption = None,
) -> None:
    """List machines that carry this control plane's mark and that its restored database does not know."""
    own_plane.run("orphans", home, *["--end"] * end)
