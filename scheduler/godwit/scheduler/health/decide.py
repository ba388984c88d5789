"""`decide(snapshot, now)`: what is done about health. Pure; the planner asks it before it serves the queue.

Findings first, the oldest first: each is decided once, and may open an incident or make one stronger. Then every
incident takes its next step. A round that finds something says it all at once; the next one finds less, until there is
nothing left to do. What comes out is applied to the letter, and nothing else decides.
"""

from collections.abc import Iterator

from godwit.domain import lifecycle
from godwit.domain.health import Incident, IncidentState
from godwit.scheduler.health import attribution, breaker, eviction, findings, known, steps, sweeps
from godwit.scheduler.health.breaker import Budget
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.plan import Action
from godwit.scheduler.snapshot import Snapshot


def decide(snapshot: Snapshot, now: float) -> Iterator[Action]:
    """What to do about health now; nothing, once all of it is written down and time has not passed."""
    book = Casebook(snapshot, now)
    budget = Budget(book)
    # Each stage sees what the one before has settled: a device is not looked at while its incident is being closed.
    for stage in (_news, _steps, known.devices, sweeps.due):
        actions = list(stage(book, budget))
        if actions:
            yield from actions
            return


def _news(book: Casebook, budget: Budget) -> Iterator[Action]:
    for finding in book.findings:
        if not finding.decided:
            yield from findings.decide(finding, book, budget)


def _steps(book: Casebook, budget: Budget) -> Iterator[Action]:
    for incident in book.all_active:
        yield from steps.step(incident, book, budget)


def next_deadlines(snapshot: Snapshot, now: float) -> Iterator[float]:
    """Instants at which time alone may change what `decide` answers."""
    book = Casebook(snapshot, now)
    for incident in snapshot.health.incidents:
        yield from _deadlines(incident, book)
    yield from breaker.next_deadlines(book)
    yield from sweeps.next_deadlines(book)
    yield from attribution.next_deadlines(snapshot)


def _deadlines(incident: Incident, book: Casebook) -> Iterator[float]:
    node = book.node(incident.node_id)
    if node is None:
        return
    if incident.state is IncidentState.HELD:
        yield steps.held_until(incident, book)
    elif incident.state is IncidentState.OPEN:
        yield eviction.neighbours_until(incident)
        due_at = eviction.due_at(incident, book.holders(node.id, incident.gpus), node, book)
        if due_at is not None:
            yield due_at
    elif (after_s := lifecycle.DEADLINES[incident.state].after_s) is not None:
        yield incident.state_since + after_s
