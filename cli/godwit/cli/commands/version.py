"""`godwit version`: which command this is, and which control plane answers."""

from importlib import metadata

import typer
from godwit.cli import console
from godwit.cli.exits import Failure
from godwit.domain.wire.views import ServerView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def version() -> None:
    """Print the versions of this command and of the control plane, if one answers."""
    print(f"godwit {metadata.version('godwit')}")
    try:
        client = console.control_plane()
        server = client.get("/v1/version", ServerView)
    except Failure as failure:
        print(f"no control plane: {failure.message}")
        return
    print(f"control plane {server.version} at {client.url} ({server.identity})")
