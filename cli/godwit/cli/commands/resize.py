"""`godwit resize`: give a job more or fewer nodes."""

from typing import Annotated

import typer
from godwit.cli import console
from godwit.cli.client import path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.sizes import SizeWanted
from godwit.domain.wire.views import JobView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def resize(
    job: Annotated[str, typer.Argument(help="A job's id, or a name: then the newest of that name.")],
    nodes: Annotated[int | None, typer.Option(help="How many nodes, within the job's own range.", min=1)] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Leave its size to the planner again.")] = False,
) -> None:
    """Say how many nodes a job should have: a wish that holds until it is changed. `explain` tells how far it is."""
    if (nodes is None) is not auto:
        raise Failure("say either --nodes N or --auto", ExitCode.USAGE)
    client = console.control_plane()
    view = client.replace(path_of("/v1/jobs", job, "size"), SizeWanted(nodes=nodes), JobView)
    wanted = "its size is left to the planner" if nodes is None else f"{nodes} of {view.nodes} nodes wanted"
    print(f"{view.name} ({view.id}): {wanted}")
