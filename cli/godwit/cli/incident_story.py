"""An incident for people: what is wrong, what was found, what was done, and the timeline."""

from collections.abc import Iterator

from godwit.cli import figures
from godwit.domain.wire.incidents import EvictionView, FindingView, IncidentDetail, OrderView
from godwit.domain.wire.views import EventView

FINDINGS_SHOWN_MAX = 20
LINE_SHOWN_MAX = 300


def told(of: IncidentDetail, now: float) -> Iterator[str]:
    """All of it, line by line."""
    where = f"node {of.node_id} ({of.provider})" + (f", {', '.join(of.gpus)}" if of.gpus else "")
    yield f"{of.id}: {of.state} for {figures.duration(now - of.state_since)}; opened {figures.ago(of.opened_at, now)}"
    yield where
    yield f"{of.code or of.check}: {of.reason}"
    tried = f"; tried before: {', '.join(of.tried)}" if of.tried else ""
    yield f"remedy: {of.remedy}, by rule {of.rule}{tried}"
    if of.detail:
        yield of.detail
    if of.cause is not None:
        yield f"one of several with the same cause: {of.cause}"
    yield from _part("found", [line for finding in of.findings[:FINDINGS_SHOWN_MAX] for line in _finding(finding)])
    yield from _part("had to leave", [_eviction(each) for each in of.evictions])
    yield from _part("ordered", [_order(each) for each in of.orders])
    yield from _part("what happened", [_event(each) for each in of.timeline])


def _part(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines)


def _finding(of: FindingView) -> Iterator[str]:
    yield f"{figures.clock(of.at)}  {of.grade} {of.code or of.check}: {of.reason}"
    for name, value in of.evidence.items():
        yield f"          {name}: {str(value)[:LINE_SHOWN_MAX]}"


def _eviction(of: EvictionView) -> str:
    def after(at: float | None, what: str) -> str:
        return f"{what} not yet" if at is None else f"{what} after {figures.duration(at - of.at)}"

    back = f"{after(of.restarted_at, 'ran again')}, {after(of.first_step_at, 'first new step')}"
    return f"{figures.clock(of.at)}  job {of.job_id}: {back}"


def _order(of: OrderView) -> str:
    ended = "under way" if of.passed is None else "passed" if of.passed else "failed"
    took = "" if of.ended_at is None else f" after {figures.duration(of.ended_at - of.ordered_at)}"
    return f"{figures.clock(of.ordered_at)}  {of.kind}: {ended}{took}" + (f": {of.detail}" if of.detail else "")


def _event(of: EventView) -> str:
    what = of.new or of.kind.partition(".")[2]
    return f"{figures.clock(of.at)}  {what}: {of.reason}"
