"""`godwit cancel`: stop a job."""

from typing import Annotated

import typer
from godwit.cli import arrays, console
from godwit.cli.client import path_of
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.views import JobView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def cancel(
    job: Annotated[str, typer.Argument(help="A job's or an array's id, or a name: then the newest of that name.")],
) -> None:
    """Stop a job, or all of an array. It is told first and given time to save; cancelling again changes nothing."""
    client = console.control_plane()
    view = arrays.either(
        lambda: client.post(path_of("/v1/jobs", job, "cancel"), None, JobView),
        lambda: client.post(path_of("/v1/arrays", job, "cancel"), None, ArrayView),
    )
    now = view.state if isinstance(view, JobView) else arrays.told(view.states)
    print(f"{view.name} ({view.id}): {now}")
