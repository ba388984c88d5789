"""`godwit cancel`: stop a job."""

from typing import Annotated

import typer
from godwit.cli import console
from godwit.cli.client import path_of
from godwit.domain.wire.views import JobView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def cancel(job: Annotated[str, typer.Argument(help="A job's id, or a name: then the newest of that name.")]) -> None:
    """Stop a job. It is told first and given time to save; cancelling again changes nothing."""
    view = console.control_plane().post(path_of("/v1/jobs", job, "cancel"), None, JobView)
    print(f"{view.name} ({view.id}): {view.state}")
