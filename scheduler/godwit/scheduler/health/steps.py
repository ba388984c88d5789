"""What an incident needs next, from the state that it is in to its end. Each answers nothing once it is done."""

from collections.abc import Iterator

from godwit.domain import lifecycle
from godwit.domain.health import Finding, Grade, Incident, IncidentState, Remedy
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.health import breaker, eviction, ladder, signs
from godwit.scheduler.health.breaker import Budget
from godwit.scheduler.health.casebook import Casebook, done, is_whole, takes_out
from godwit.scheduler.health.verdicts import ACTIVE_CHECKS, Rule
from godwit.scheduler.health.view import CHECKS, REPAIR, TestResult
from godwit.scheduler.plan import (
    Action,
    CordonNode,
    MarkHealth,
    MoveIncident,
    RepairNode,
    TerminateNode,
    TestNode,
    TripBreaker,
)

OPEN, HELD, REPAIRING, TESTING = (
    IncidentState.OPEN, IncidentState.HELD, IncidentState.REPAIRING, IncidentState.TESTING,
)  # fmt: skip
ESCALATED, CLOSED = IncidentState.ESCALATED, IncidentState.CLOSED

AWAY = frozenset({NodeState.TERMINATING, NodeState.TERMINATED, NodeState.FAILED})


def step(incident: Incident, book: Casebook, budget: Budget) -> Iterator[Action]:
    """What is to be done for an incident now."""
    node = book.node(incident.node_id)
    if node is None or node.gone or node.state in AWAY:
        yield MoveIncident(incident.id, CLOSED, "the machine is gone")
        book.close(incident)
    elif incident.state is OPEN:
        yield from _open(incident, node, book, budget)
    elif incident.state is HELD:
        yield from _held(incident, node, book, budget)
    elif incident.state is REPAIRING:
        yield from _repairing(incident, node, book)
    elif incident.state is TESTING:
        yield from _testing(incident, node, book)


def _open(incident: Incident, node: Node, book: Casebook, budget: Budget) -> Iterator[Action]:
    if incident.remedy is Remedy.RESTART_JOB:
        ended = list(eviction.restarts(incident, book))
        yield from ended or [MoveIncident(incident.id, CLOSED, "the job starts again; nothing is repaired")]
        return
    if not eviction.is_taken(incident, node, book) and (why := budget.refusal(node)) is not None:
        if book.view.tripped_at is None and budget.trips(node):
            yield TripBreaker(why)
        yield MoveIncident(incident.id, HELD, f"the breaker holds it: {why}")
        return
    begun = list(begin(incident, node, book, budget))
    yield from begun
    is_heard = node.state in {NodeState.READY, NodeState.CORDONED}
    if not begun and is_heard and not eviction.held_by(incident, book) and not _waits(incident, book):
        yield from _begin_remedy(incident, node, book)


def begin(incident: Incident, node: Node, book: Casebook, budget: Budget) -> Iterator[Action]:
    """Take out what it is about, and end what runs there, as far as that is due."""
    taking = list(eviction.take_out(incident, node, book))
    if taking:
        budget.take(node)
    yield from taking
    yield from eviction.evictions(incident, node, book)


def _waits(incident: Incident, book: Casebook) -> bool:
    """Whether another incident of the node has its turn first: a machine is not reset while it boots."""
    if incident.remedy in ladder.LEAVES:
        return False
    others = [one for one in book.incidents_on(incident.node_id) if one.id != incident.id and breaker.acts(one)]
    for one in others:
        if one.state in {REPAIRING, TESTING} and (is_whole(one) or is_whole(incident)):
            return True
        is_ready = one.state is OPEN and is_whole(one) and not eviction.drains(one) and not eviction.swaps(one)
        if is_ready and _turn(one) < _turn(incident):
            return True
    return False


def _turn(incident: Incident) -> tuple[int, float, str]:
    return (-incident.remedy.strength, incident.opened_at, incident.id)


def _begin_remedy(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    if incident.remedy in ladder.LEAVES:
        yield from _leave(incident, node, book)
    elif incident.remedy in ladder.REPAIRS and not _has_booted(incident, book):
        yield MoveIncident(incident.id, REPAIRING, f"nothing uses it any more: {_WORDS[incident.remedy]}")
        yield _repair(incident)
    else:
        yield from _set_aside(incident, node, book)
        yield MoveIncident(incident.id, TESTING, "nothing uses it any more: it is tested")
        yield from _test(incident, node)


def _has_booted(incident: Incident, book: Casebook) -> bool:
    """Whether the machine was booted for another incident since this one began: that was its repair, too."""
    return any(
        Remedy.REBOOT in done(one) and one.opened_at >= incident.opened_at
        for one in book.view.past
        if one.node_id == incident.node_id and takes_out(one)
    )


_WORDS = {
    Remedy.DRAIN_AND_RESET: "it is reset", Remedy.RESET_GPU: "it is reset", Remedy.REBOOT: "the machine is booted anew",
    Remedy.REPLACE_NODE: "another machine takes its place", Remedy.NONE: "it is tested",
}  # fmt: skip


def _leave(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    """The machine is given back, and its devices are remembered, so that they are known when they are sold again."""
    if is_own(node):
        yield MoveIncident(incident.id, ESCALATED, "the machine is one's own, and no other takes its place: repair it")
        return
    to = Health.RETIRED if incident.remedy is Remedy.CONTACT_SUPPORT else Health.FAULTY
    # A machine has no name that stays: where no GPU is to blame, all of them are how it is known again.
    whole: tuple[str, ...] = (node.id, *(gpu.uuid for gpu in node.gpus))
    for device in incident.gpus or whole:
        if book.health_of(device) not in {to, Health.RETIRED}:
            yield MarkHealth(device, node.id, to, incident.reason)
    is_known = incident.code == "known"
    yield TerminateNode(node.id, f"it is replaced: {incident.reason}", blame=is_known)
    yield MoveIncident(incident.id, CLOSED, "the machine is given back, and its devices are remembered")


def is_own(node: Node) -> bool:
    """Whether nobody sells the machine: to give it back brings no other."""
    return node.offer.price_usd_per_hour <= 0


def _held(incident: Incident, node: Node, book: Casebook, budget: Budget) -> Iterator[Action]:
    if _is_over(incident, book):
        yield MoveIncident(incident.id, CLOSED, "what was found is over, and nothing was done")
        return
    if incident.cause is not None and not eviction.held_by(incident, book):
        tried = list(_try_meanwhile(incident, node, book, budget))
        if tried:
            yield from tried
            return
    if held_until(incident, book) > book.now or not book.policy.acts or book.view.tripped_at is not None:
        return
    if budget.refusal(node) is None:
        budget.take(node)
        yield MoveIncident(incident.id, OPEN, "nothing holds it any more")


def _try_meanwhile(incident: Incident, node: Node, book: Casebook, budget: Budget) -> Iterator[Action]:
    """One of several that nothing runs on is tested while it is held: what passes was never its own fault."""
    order = book.orders.get((incident.id, CHECKS))
    if not incident.gpus and incident.remedy is not Remedy.NONE and incident.rule != Rule.LOSS:
        return  # tests of GPUs say nothing of a network or a host
    if order is None:
        yield from _test(incident, node)
    elif order.passed:
        yield MoveIncident(incident.id, CLOSED, "it passed its tests while it was held, and is back")
    elif order.passed is False and incident.rule == Rule.LOSS and budget.refusal(node) is None:
        budget.take(node)
        why = f"it failed its tests: {order.detail}"
        if incident.remedy is Remedy.NONE:
            yield from _next_rung(incident, why, _suggested(incident, book))
        else:  # what failed has said already what it takes
            yield MoveIncident(incident.id, OPEN, why)


def held_until(incident: Incident, book: Casebook) -> float:
    """Until when an incident of a burst waits for its cause to pass."""
    return incident.opened_at + book.policy.hold_s if incident.cause is not None else incident.opened_at


def _is_over(incident: Incident, book: Casebook) -> bool:
    return any(ends(one, incident) for one in book.by_node.get(incident.node_id, []))


def ends(finding: Finding, incident: Incident) -> bool:
    """Whether a finding says that what an incident is about is over."""
    is_same = finding.check == incident.check and finding.code in {"", incident.code}
    is_same = is_same or {finding.code, incident.code} <= signs.LINK_LOST
    is_there = finding.gpu is None or finding.gpu in incident.gpus or not incident.gpus
    return finding.grade is Grade.HEALTHY and is_same and is_there and finding.at > incident.opened_at


def _repairing(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    order = _order(incident, REPAIR, book)
    if order is None:
        yield _repair(incident)
    elif order.passed and incident.code in eviction.PENDING and not incident.tried:
        yield from forgive(incident, node, book, "it was reset, which is all that it waited for")
    elif order.passed:
        yield from _set_aside(incident, node, book)
        yield MoveIncident(
            incident.id, TESTING, f"it was repaired: {order.detail}" if order.detail else "it was repaired"
        )
        yield from _test(incident, node)
    elif order.passed is False:
        yield from _next_rung(incident, f"its repair failed: {order.detail}")
    elif is_late(incident, book.now):
        yield from _next_rung(incident, "its repair took too long")


def _testing(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    order, aside = _order(incident, CHECKS, book), list(_set_aside(incident, node, book))
    yield from aside
    if order is None and not eviction.held_by(incident, book):
        yield from _test(incident, node)
    elif order is None or aside:
        return
    elif order.passed:
        yield from _return(incident, node, book)
    elif order.passed is False:
        yield from _next_rung(incident, f"it failed its tests: {order.detail}", _suggested(incident, book))
    elif is_late(incident, book.now):
        yield from _next_rung(incident, "its tests took too long")


def _set_aside(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    for device in eviction.devices(incident):
        if book.health_of(device) in {Health.SUSPECT, Health.FAULTY}:
            yield MarkHealth(device, node.id, Health.QUARANTINED, "nothing uses it; it is tested before it returns")


def _return(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    yield from forgive(incident, node, book, "it passed its tests and is back")


def forgive(incident: Incident, node: Node, book: Casebook, why: str) -> Iterator[Action]:
    """Nothing is wrong any more: what no other incident takes out returns, and the incident is closed."""
    for device in eviction.devices(incident):
        if book.health_of(device) in {Health.SUSPECT, Health.QUARANTINED} and not _is_in_others(incident, device, book):
            yield MarkHealth(device, node.id, Health.HEALTHY, why)
    others = [one for one in book.incidents_on(node.id) if one.id != incident.id and takes_out(one) and is_whole(one)]
    if node.state is NodeState.CORDONED and is_whole(incident) and not others:
        yield CordonNode(node.id, f"{why} (incident {incident.id})", lifted=True)
    yield MoveIncident(incident.id, CLOSED, why)
    book.close(incident)


def _is_in_others(incident: Incident, device: str, book: Casebook) -> bool:
    others = (one for one in book.incidents_on(incident.node_id) if one.id != incident.id and takes_out(one))
    return any(device in eviction.devices(one) for one in others)


def _next_rung(incident: Incident, why: str, least: Remedy = Remedy.NONE) -> Iterator[Action]:
    rung = ladder.after(incident)
    if least.strength > (rung or Remedy.CONTACT_SUPPORT).strength:
        rung = least
    if rung is None:
        yield MoveIncident(incident.id, ESCALATED, f"{why}; nothing stronger is left")
    else:
        yield MoveIncident(incident.id, OPEN, f"{why}; next: {_WORDS.get(rung, str(rung))}", rung)


def _suggested(incident: Incident, book: Casebook) -> Remedy:
    """What the tests that failed suggest: a GPU that computes nonsense needs no reset first."""
    return max(
        (
            one.suggested
            for one in book.by_node.get(incident.node_id, [])
            if one.check in ACTIVE_CHECKS and one.at >= incident.state_since and one.grade is not Grade.HEALTHY
        ),
        key=lambda remedy: remedy.strength,
        default=Remedy.NONE,
    )


def _order(incident: Incident, kind: str, book: Casebook) -> TestResult | None:
    """The newest order of this kind, if it is of this state and not of a rung before."""
    order = book.orders.get((incident.id, kind))
    return order if order is not None and order.at >= incident.state_since else None


def _repair(incident: Incident) -> RepairNode:
    remedy = Remedy.REBOOT if incident.remedy is Remedy.REBOOT else Remedy.RESET_GPU
    gpus = () if remedy is Remedy.REBOOT else incident.gpus
    return RepairNode(incident.node_id, incident.id, remedy, gpus, incident.reason)


def _test(incident: Incident, node: Node) -> Iterator[Action]:
    gpus = tuple(gpu.index for gpu in node.gpus if is_whole(incident) or gpu.uuid in incident.gpus)
    yield TestNode(node.id, incident.id, gpus, incident.reason)


def is_late(incident: Incident, now: float) -> bool:
    """Whether a repair or test takes longer than its state may last."""
    return now - incident.state_since >= (lifecycle.DEADLINES[incident.state].after_s or float("inf"))
