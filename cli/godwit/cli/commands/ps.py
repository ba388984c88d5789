"""`godwit ps`: the jobs."""

import itertools
import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.cli.arrays import told
from godwit.cli.client import ControlPlane, Params
from godwit.domain.jobs import JobState
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.views import JobView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
FINAL_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
ALIVE = [state.value for state in JobState if state not in FINAL_STATES]
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


ARRAY_COLUMNS = (
    output.Column("ARRAY"),
    output.Column("NAME", whole=False),
    output.Column("JOBS", right=True),
    output.Column("STATES", whole=False),
    output.Column("AGE", right=True),
)


@app.command()
def ps(
    everything: Annotated[bool, typer.Option("-a", "--all", help="Also jobs that ended long ago.")] = False,
    unfolded: Annotated[bool, typer.Option("-v", "--verbose", help="Each job of an array on its own line.")] = False,
    project: Annotated[str | None, typer.Option(help="Only jobs of this project; arrays are unfolded.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many, newest first.")] = 100,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List jobs, newest first: those that are alive and the last few that ended.

    An array is one line with its jobs counted by state; -v and -a show each job of it.
    """
    client = console.control_plane()
    is_single = None if everything or unfolded or project else True
    of: Params = {"project": project, "single": is_single}
    jobs = _newest(client, limit, of) if everything else _alive_and_recent(client, limit, of)
    arrays = _arrays(client, limit) if is_single else []
    if form is not output.Format.TABLE:
        output.show([*jobs, *arrays], form)
        return
    now = time.time()
    if jobs or not arrays:
        output.table(COLUMNS, [_row(job, now) for job in jobs], "no jobs; start one with `godwit run`")
    if arrays:
        print(end="\n" if jobs else "")
        output.table(ARRAY_COLUMNS, [_array_row(array, now) for array in arrays], "")


def _alive_and_recent(client: ControlPlane, limit: int, of: Params) -> list[JobView]:
    # Asked for apart: the living may be hidden behind thousands that ended since.
    alive = _newest(client, limit, {**of, "state": ALIVE})
    known = {job.id for job in alive}
    ended = [job for job in _newest(client, RECENT, of) if job.id not in known]
    return sorted([*alive, *ended], key=lambda job: job.created_at, reverse=True)


def _arrays(client: ControlPlane, limit: int) -> list[ArrayView]:
    alive = itertools.islice(client.pages("/v1/arrays", ArrayView, {"alive": True}), limit)
    ended = itertools.islice(client.pages("/v1/arrays", ArrayView, {"alive": False, "limit": RECENT}), RECENT)
    return sorted([*alive, *ended], key=lambda array: array.created_at, reverse=True)


def _newest(client: ControlPlane, limit: int, params: Params) -> list[JobView]:
    return list(itertools.islice(client.pages("/v1/jobs", JobView, {"limit": min(limit, 100), **params}), limit))


def _row(job: JobView, now: float) -> tuple[str, ...]:
    step = "-"
    if job.progress is not None:
        total = f"/{job.progress.total_steps}" if job.progress.total_steps is not None else ""
        step = f"{job.progress.step}{total}"
    return (job.id, job.name, job.state, job.gpus, job.nodes, step, figures.ago(job.created_at, now))


def _array_row(array: ArrayView, now: float) -> tuple[str, ...]:
    return (array.id, array.name, str(array.size), told(array.states), figures.ago(array.created_at, now))
