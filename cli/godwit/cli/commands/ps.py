"""`godwit ps`: the jobs."""

import itertools
import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.domain.wire.views import JobView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
FINAL_STATES = ("succeeded", "failed", "cancelled")
RECENT = 10
COLUMNS = (
    output.Column("ID"),
    output.Column("NAME", whole=False),
    output.Column("STATE"),
    output.Column("GPUS", whole=False),
    output.Column("NODES", right=True),
    output.Column("STEP", right=True),
    output.Column("AGE", right=True),
)


@app.command()
def ps(
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also jobs that ended long ago.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")] = 100,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List jobs, newest first: those that are alive and the last few that ended."""
    found = console.control_plane().pages("/v1/jobs", JobView, {"limit": min(limit, 100)})
    jobs = list(itertools.islice(found, limit))
    if not everything:
        jobs = _alive_and_recent(jobs)
    if form is not output.Format.TABLE:
        output.show(jobs, form)
        return
    now = time.time()
    output.table(COLUMNS, [_row(job, now) for job in jobs], "no jobs; start one with `godwit run`")


def _alive_and_recent(jobs: list[JobView]) -> list[JobView]:
    ended = [job.id for job in jobs if job.state in FINAL_STATES][:RECENT]
    return [job for job in jobs if job.state not in FINAL_STATES or job.id in ended]


def _row(job: JobView, now: float) -> tuple[str, ...]:
    step = "-"
    if job.progress is not None:
        total = f"/{job.progress.total_steps}" if job.progress.total_steps is not None else ""
        step = f"{job.progress.step}{total}"
    return (job.id, job.name, job.state, job.gpus, job.nodes, step, figures.ago(job.created_at, now))
