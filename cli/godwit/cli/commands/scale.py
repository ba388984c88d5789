"""`godwit scale`: give a service more or fewer replicas."""

from typing import Annotated

import typer
from godwit.cli import console, replicated
from godwit.cli.client import path_of
from godwit.domain.wire.services import ScaleWanted, ServiceView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def scale(
    name: Annotated[str, typer.Argument(help="A service's id or name.")],
    replicas: Annotated[int, typer.Argument(help="How many replicas, within its own bounds.", min=0, max=1000)],
) -> None:
    """Say how many replicas a service should have. What goes finishes its requests first."""
    wanted = ScaleWanted(replicas=replicas)
    view = console.control_plane().replace(path_of("/v1/services", name, "scale"), wanted, ServiceView)
    print(f"{view.name}: {replicated.wanted(view)} replicas wanted, {view.ready} take requests")
