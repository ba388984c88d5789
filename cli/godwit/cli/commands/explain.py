"""`godwit explain`: why a job is where it is."""

import time
from typing import Annotated

import typer
from godwit.cli import arrays, console, figures, moving, output, refusals, watch
from godwit.cli.client import path_of
from godwit.domain.wire.sizes import SizeView
from godwit.domain.wire.views import ExplainView, OutlookView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
EVENTS_SHOWN_MAX = 20

ROUTINE = frozenset({"job.checkpoint", "job.checkpoints-deleted"})
"""What a healthy job does every few minutes; it would push out what explains anything."""


@app.command()
def explain(
    job: Annotated[str, typer.Argument(help="A job's or an array's id, or a name: then the newest of that name.")],
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Say why a job waits, who refused it and when they are asked again; or why it failed.

    Of an array, how many of its jobs are where, and why for one that stands for the others.
    """
    client = console.control_plane()
    view = arrays.either(
        lambda: client.get(path_of("/v1/jobs", job, "explain"), ExplainView),
        lambda: client.get(path_of("/v1/arrays", job, "explain"), ExplainView),
    )
    if form is not output.Format.TABLE:
        output.show(view, form)
        return
    for line in told(view, time.time()):
        print(line)


def told(view: ExplainView, now: float) -> list[str]:
    """The explanation, line by line."""
    job = view.job
    since = figures.duration(now - job.state_since)
    standing = f"{job.state} {since} ago" if job.state in watch.FINAL_STATES else f"{job.state} for {since}"
    lines = [f"{job.name} ({job.id}): {standing}", view.headline]
    if view.array is not None:
        whole = f"array {view.array.name} ({view.array.id}): {arrays.told(view.array.states)}"
        lines = [whole, f"of the {view.array.states.get(job.state, 1)} that are {job.state} the first:", "", *lines]
    if view.estimate is not None:
        more = " more" if job.epoch else ""
        lines.append(f"expected to run {figures.duration(view.estimate.left_s)}{more}, by {view.estimate.source}")
    if view.size is not None:
        lines.append(sized(view.size))
    if view.outlook is not None:
        lines.append(expected(view.outlook, now))
    if view.refusals:
        lines += ["", "refused by"]
        lines += [f"  {line}" for line in refusals.told(view.refusals, now)]
    if job.exit_code is not None and f"exit code {job.exit_code}" not in view.headline:
        lines += ["", f"exit code {job.exit_code}"]
    for migration in view.migrations:
        lines += ["", *moving.told(migration)]
    if view.last_lines:
        lines += ["", "last lines of output", *(f"  {line}" for line in view.last_lines)]
    if view.events:
        shown = [event for event in view.events if event.kind not in ROUTINE][-EVENTS_SHOWN_MAX:]
        lines += ["", "what happened"]
        hidden = len(view.events) - len(shown)
        if hidden:
            lines.append(f"  ({hidden} more: godwit events --job {job.id})")
        told_events = ((event.at, watch.describe(event)) for event in shown)
        lines += [f"  {figures.clock(at)}  {line}" for at, line in told_events if line]
    return lines


def sized(size: SizeView) -> str:
    """One line: how many nodes it has, how many it should have, and why."""
    should = "" if size.target == size.nodes else f", should be {size.target}"
    return f"nodes: {size.nodes}{should}: {size.why}"


def expected(outlook: OutlookView, now: float) -> str:
    """One line: its place in the queue, and when it may start."""
    place = f"place {outlook.position} in the queue"
    if outlook.earliest is None:
        return f"{place}; {outlook.because}"
    soonest = figures.until(outlook.earliest, now)
    span = (
        f"starts {soonest} at the earliest" if outlook.latest is None else f"starts {_between(outlook, soonest, now)}"
    )
    return f"{place}; {span}: {outlook.because}"


def _between(outlook: OutlookView, soonest: str, now: float) -> str:
    latest = figures.until(outlook.latest or now, now)
    return f"{soonest} to {latest.removeprefix('in ')}" if soonest != latest else soonest
