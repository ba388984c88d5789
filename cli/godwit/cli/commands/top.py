"""`godwit top`: the fleet on one screen, drawn again as things happen."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Annotated

import typer
from godwit.cli import console, figures, following, output
from godwit.domain.wire.overview import OverviewView
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

app = typer.Typer(rich_markup_mode=None, add_completion=False)

AGAIN_S, AT_LEAST_EVERY_S = 1.0, 10.0
"""Not more often than once a second, however much happens; and once in a while, since waiting changes figures too."""

ROWS = 12

_STYLES = {
    "busy": "green", "idle": "yellow", "starting": "cyan", "held": "magenta", "draining": "blue", "broken": "red",
    "suspect": "red", "lost": "red",
}  # fmt: skip


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Show the fleet live: GPUs by what they do, what is broken, what is idle and costs, who waits and why.

    It is drawn again when something happens; Ctrl-C ends it.
    """
    view = console.control_plane().get("/v1/overview", OverviewView)
    if form is not output.Format.TABLE:
        output.show(view, form)
        return
    if once or not output.is_terminal():
        Console(width=output.terminal_width(), highlight=False).print(screen(view, output.terminal_width()))
        return
    happened = threading.Event()
    threading.Thread(target=_listen, args=(happened,), name="events", daemon=True).start()
    try:
        _draw(view, happened, lambda: console.control_plane().get("/v1/overview", OverviewView))
    except KeyboardInterrupt:
        output.note("")


def _draw(view: OverviewView, happened: threading.Event, ask: Callable[[], OverviewView]) -> None:
    with Live(screen(view, output.terminal_width()), screen=True, auto_refresh=False) as live:
        while True:
            happened.wait(AT_LEAST_EVERY_S)
            happened.clear()
            live.update(screen(ask(), output.terminal_width()), refresh=True)
            time.sleep(AGAIN_S)


def _listen(happened: threading.Event) -> None:
    """Says that something happened; what it was is asked for anew, whole."""
    for _ in following.follow(console.control_plane, "/v1/changes/stream", {}):
        happened.set()


def screen(view: OverviewView, width: int) -> RenderableType:
    """The whole picture, no wider than `width`."""
    parts: list[RenderableType] = [_head(view), _gpus(view, width), *_broken(view), *_idle(view), *_quiet(view)]
    return Group(*parts, *_waiting(view, width), *_services(view))


def _head(view: OverviewView) -> Text:
    money, jobs = view.money, view.counts.jobs
    said = ", ".join(f"{count} {state}" for state, count in sorted(jobs.items()) if count)
    busy = money.busy_usd_per_hour / money.usd_per_hour if money.usd_per_hour else 0.0
    line = f"{figures.clock(view.at)}  {figures.usd_per_hour(money.usd_per_hour)}, {busy:.0%} of it at work"
    simulated = " (simulated)" if money.is_simulated else ""
    line += f", {figures.usd(money.usd_today)} today{simulated}"
    return Text(f"{line}\njobs: {said or 'none'}", style="bold")


def _gpus(view: OverviewView, width: int) -> RenderableType:
    counts = {use: count for use, count in view.counts.gpus.items() if count}
    total = sum(counts.values())
    if not total:
        return Text("no GPUs", style="dim")
    bar = Text()
    for use, count in _ordered(counts):
        bar.append("█" * max(1, round(count / total * (width - 8))), style=_STYLES.get(use, "white"))
    said = Text("GPUs: ")
    for use, count in _ordered(counts):
        said.append(f"{count} {use}  ", style=_STYLES.get(use, "white"))
    said.append(f"of {total}; {counts.get('busy', 0) / total:.0%} busy")
    load = view.load
    if load is not None and load.busy_percent is not None:
        said.append(f"\nwhat programs have works {load.busy_percent:.0f}% of the time ({load.gpus} GPUs measured)")
    return Group(bar, said)


def _ordered(counts: dict[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: list(_STYLES).index(item[0]) if item[0] in _STYLES else 99)


def _broken(view: OverviewView) -> list[RenderableType]:
    broken = view.broken
    lines = [f"incident {one.id} {one.state}: {one.reason}" for one in broken.open_incidents]
    lines += [f"node {one.node_id} at {one.provider} is not heard" for one in broken.lost_nodes]
    lines += [f"provider {one.name}: {one.trouble}" for one in broken.providers]
    lines += [broken.breaker] if broken.breaker else []
    lines += [f"executors: {broken.executors}"] if broken.executors else []
    if not lines:
        return [Text("\nnothing is broken", style="green")]
    head = f"\nbroken: {broken.gpus} GPUs, {broken.nodes} nodes, {figures.usd_per_hour(broken.usd_per_hour)}"
    return [Text(head, style="bold red"), *_lines(lines)]


def _idle(view: OverviewView) -> list[RenderableType]:
    idle = view.idle
    if not idle.gpus and not idle.held_gpus:
        return [Text("nothing is idle", style="green")]
    head = f"idle: {idle.gpus} GPUs, {figures.usd_per_hour(idle.usd_per_hour)}"
    head += f"; held: {idle.held_gpus}, {figures.usd_per_hour(idle.held_usd_per_hour)}" if idle.held_gpus else ""
    lines = [
        f"{one.node_id} at {one.provider}: {one.gpus} of {one.of_gpus} GPUs, {figures.usd_per_hour(one.usd_per_hour)}"
        + ("" if one.since is None else f", for {figures.age(one.since, view.at)}")
        for one in idle.nodes
    ]
    return [Text(head, style="bold yellow"), *_lines(lines)]


def _quiet(view: OverviewView) -> list[RenderableType]:
    load = view.load
    if load is None or not load.quiet_gpus:
        return []
    head = f"programs run, GPUs do not: {load.quiet_gpus}, {figures.usd_per_hour(load.quiet_usd_per_hour)}"
    lines = [
        f"{one.name} of {one.project}: {one.gpus} GPUs, {figures.usd_per_hour(one.usd_per_hour)}"
        for one in load.quiet_jobs
    ]
    return [Text(head, style="bold yellow"), *_lines(lines)]


def _waiting(view: OverviewView, width: int) -> list[RenderableType]:
    waiting = view.waiting
    if not waiting.jobs:
        return [Text("nobody waits", style="green")]
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", width=width)
    for title, share in (("JOB", 2), ("PROJECT", 1), ("WANTS", 1), ("FOR", None), ("WHY", 4)):
        grid.add_column(title, no_wrap=True, overflow="ellipsis", ratio=share)
    for one in waiting.first[:ROWS]:
        wants = f"{one.nodes} x {one.gpus}"
        grid.add_row(one.name, one.project, wants, figures.age(one.since, view.at), one.why or "it starts")
    jobs, gpus = "job" if waiting.jobs == 1 else "jobs", "GPU" if waiting.gpus == 1 else "GPUs"
    head = f"\nwaiting: {waiting.jobs} {jobs} for {waiting.gpus} {gpus}"
    return [Text(head, style="bold"), grid]


def _services(view: OverviewView) -> list[RenderableType]:
    return _lines(
        [f"service {one.name}: {one.ready} of {one.replicas} replicas ready. {one.why}" for one in view.services]
    )


def _lines(lines: list[str]) -> list[RenderableType]:
    shown = [Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in lines[:ROWS]]
    return [*shown, *([Text(f"  and {len(lines) - ROWS} more", style="dim")] if len(lines) > ROWS else [])]
