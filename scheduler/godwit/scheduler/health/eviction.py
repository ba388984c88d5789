"""Taking devices out of the fleet, and what runs on them with it: at once, at the next checkpoint, or when it ends."""

from collections.abc import Iterator

from godwit.domain import lifecycle
from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import NodeId
from godwit.domain.jobs import Attempt
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler import departures
from godwit.scheduler.health import xids
from godwit.scheduler.health.casebook import Casebook, goes_on, is_whole
from godwit.scheduler.health.verdicts import ACTIVE_CHECKS, DRAINS, Rule
from godwit.scheduler.plan import Action, AskToLeave, CordonNode, Evict, MarkHealth, ShrinkAttempt
from godwit.scheduler.resizing import bending

PENDING = frozenset({"xid:63", "row-remap:pending", "pages:pending", "repair:pending"})
"""What only waits for a reset and is safe meanwhile: nobody is ended for it within weeks."""

SUSPECTS = frozenset({Remedy.NONE, Remedy.DRAIN_AND_RESET})
"""Remedies of what may still be well: its devices are suspect, and faulty with any other."""


def take_out(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    """Mark the devices, and cordon the node where all of it is taken. Nothing, when that is done."""
    to = Health.SUSPECT if incident.remedy in SUSPECTS else Health.FAULTY
    for device in devices(incident):
        if book.health_of(device) in _WORSENS[to]:
            yield MarkHealth(device, node.id, to, incident.reason)
    if is_whole(incident) and node.state is NodeState.READY:
        yield CordonNode(node.id, incident.reason)


_WORSENS = {
    Health.SUSPECT: frozenset({Health.HEALTHY}),
    Health.FAULTY: frozenset({Health.HEALTHY, Health.SUSPECT, Health.QUARANTINED}),
}


def is_taken(incident: Incident, node: Node, book: Casebook) -> bool:
    """Whether its devices are out already."""
    return not any(take_out(incident, node, book))


def devices(incident: Incident) -> tuple[str, ...]:
    """What is remembered because of it: its GPUs, or the machine where none is named."""
    return incident.gpus or (incident.node_id,)


def evictions(incident: Incident, node: Node, book: Casebook) -> Iterator[Action]:
    """Attempts that have to leave now. Those on other GPUs of the node have until the incident's own deadline."""
    holders = book.holders(node.id, incident.gpus)
    due = due_at(incident, holders, node, book)
    for attempt in holders:
        if goes_on(attempt) and due is not None and due <= book.now:
            yield from _out_of(attempt, incident, node, book, saves=may_save(incident))
    if is_whole(incident) and neighbours_until(incident) <= book.now:
        for attempt in book.holders(node.id, ()):
            if goes_on(attempt) and attempt not in holders:
                yield from _out_of(attempt, incident, node, book, saves=True)


def neighbours_until(incident: Incident) -> float:
    """Until when work on other GPUs of the node may go on."""
    return incident.state_since + (lifecycle.DEADLINES[IncidentState.OPEN].after_s or 0.0)


def drains(incident: Incident) -> bool:
    """Whether present work may end first."""
    if incident.remedy is Remedy.DRAIN_AND_RESET:
        return incident.code not in xids.CONTAINED  # the program that met it is lost, and would only die later
    return incident.remedy is Remedy.NONE and incident.rule in DRAINS


def swaps(incident: Incident) -> bool:
    """Whether it waits for a checkpoint: a straggler does its work, if slowly."""
    return incident.remedy is Remedy.NONE and incident.rule == Rule.STRAGGLER


def due_at(incident: Incident, holders: list[Attempt], node: Node, book: Casebook) -> float | None:
    """From when on its holders have to leave; None while nothing but news can tell."""
    policy = book.policy
    if drains(incident):
        return incident.opened_at + (policy.pending_s if incident.code in PENDING else policy.drain_s)
    if not swaps(incident):
        return incident.opened_at
    if not _has_spare(node, book):
        return incident.opened_at + policy.drain_s
    saved = [book.snapshot.saved_at.get(attempt.job_id, 0.0) for attempt in holders]
    is_saved = all(at > incident.opened_at for at in saved)
    return max(saved, default=incident.opened_at) if is_saved else incident.opened_at + policy.swap_s


def may_save(incident: Incident) -> bool:
    """Whether what the job would save now can be trusted, and the GPU still answers."""
    if incident.code in xids.WRONG or incident.code in xids.LOST or incident.check in {"hang", "loss", "crash"}:
        return False
    return incident.check not in ACTIVE_CHECKS and not any(word in incident.code for word in _UNTRUSTED)


_UNTRUSTED = ("lost", "corrupt", "mismatch", "uncorrect", "sram", "inforom", "count")
"""Words in the codes of checks that say: the GPU is gone, or its memory and its results are wrong."""


def held_by(incident: Incident, book: Casebook) -> list[Attempt]:
    """What must be gone before its repair or test: holders of its GPUs, or all of the node."""
    return book.holders(incident.node_id, () if is_whole(incident) else incident.gpus)


def _has_spare(node: Node, book: Casebook) -> bool:
    """Whether a node as this one waits idle: to swap for a machine that has to be bought costs more than the lag."""
    return any(_is_spare(other, node, book) for other in book.snapshot.nodes)


def _is_spare(other: Node, node: Node, book: Casebook) -> bool:
    is_alike = other.offer.gpu_model == node.offer.gpu_model and len(other.gpus) >= len(node.gpus)
    is_idle = other.state is NodeState.READY and other.idle_since is not None and other.reserved_for is None
    return (
        is_alike
        and is_idle
        and not book.holders(NodeId(other.id), ())
        and not book.incidents_on(other.id)
        and all(gpu.health is Health.HEALTHY for gpu in other.gpus)
    )


def _out_of(attempt: Attempt, incident: Incident, node: Node, book: Casebook, *, saves: bool) -> Iterator[Action]:
    """The attempt leaves the node: only its part there, once, where it goes on without; a replica is asked first."""
    if any(slot.leaving and slot.node_id == node.id for slot in attempt.slots):
        return
    job = book.snapshot.job_by_id.get(attempt.job_id)
    if saves and departures.asks_first(job, attempt):
        by = book.now + departures.EMPTIES_WITHIN_S
        if attempt.leaves_by is None or attempt.leaves_by > by:
            yield AskToLeave(attempt.id, attempt.job_id, by, incident.reason, incident_id=incident.id)
    elif saves and bending.may_lose(job, attempt, {node.id}):
        yield ShrinkAttempt(attempt.id, (node.id,), f"it goes on without node {node.id}: {incident.reason}")
    else:
        yield _evict(attempt, incident, saves=saves)


def _evict(attempt: Attempt, incident: Incident, *, saves: bool) -> Evict:
    return Evict(attempt.id, attempt.job_id, incident.id, saves, incident.reason)


def restarts(incident: Incident, book: Casebook) -> Iterator[Action]:
    """The attempt of a job that starts again where it is: the one that ran when the incident began."""
    for attempt in book.snapshot.attempts:
        if attempt.job_id in incident.job_ids and goes_on(attempt) and attempt.created_at < incident.opened_at:
            yield _evict(attempt, incident, saves=may_save(incident))
