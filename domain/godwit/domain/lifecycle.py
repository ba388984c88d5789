"""The tables of states, and `advance()`, the one way from a state to the next.

Each edge carries the reason for which it exists. Each state that is not final has a deadline, after which somebody
acts, and a path to a final state; `tests/domain/test_lifecycle.py` holds the tables to that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from godwit.domain import services
from godwit.domain.errors import InvalidTransition
from godwit.domain.events import Event
from godwit.domain.health import HealthRecord, Incident, IncidentState
from godwit.domain.intents import Intent, IntentState
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState
from godwit.domain.migrations import EDGES, WAITS_S, Migration
from godwit.domain.nodes import Health, Node, NodeState
from godwit.domain.services import Replica, Service

Table = Mapping[StrEnum, Mapping[StrEnum, str]]
Entity = TypeVar("Entity", Job, Attempt, Node, Intent, Incident, HealthRecord, Migration, Service, Replica)
Advanced = Job | Attempt | Node | Intent | Incident | HealthRecord | Migration | Service | Replica

_J, _A, _N, _I, _X, _H = JobState, AttemptState, NodeState, IntentState, IncidentState, Health

JOB: Table = {
    _J.QUEUED: {
        _J.STARTING: "the planner placed it",
        _J.CANCELLED: "its owner cancelled it before it was placed, or what it waited for ended otherwise",
        _J.FAILED: "it can never run as asked",
    },
    _J.STARTING: {
        _J.RUNNING: "its program runs",
        _J.RECOVERING: "the platform lost the attempt before the program ran, or it gave way to another job",
        _J.STOPPING: "its owner cancelled it",
        _J.SUCCEEDED: "the program ended well before it was seen to run",
        _J.FAILED: "its set-up or its program failed",
    },
    _J.RUNNING: {
        _J.RECOVERING: "the platform lost the attempt, or it gave way to another job",
        _J.MIGRATING: "it moves to other nodes, which are ready for it",
        _J.RESIZING: "it grows or shrinks",
        _J.STOPPING: "its owner cancelled it",
        _J.SUCCEEDED: "the program ended with exit code 0",
        _J.FAILED: "the program failed by itself",
    },
    _J.RECOVERING: {
        _J.STARTING: "the planner placed it again",
        _J.STOPPING: "its owner cancelled it",
        _J.SUCCEEDED: "its program had ended well before it heard that it had to give way",
        _J.FAILED: "it was interrupted more often than its retries allow",
    },
    _J.MIGRATING: {
        _J.STARTING: "it starts on the new nodes",
        _J.RECOVERING: "the platform lost the attempt while it moved",
        _J.STOPPING: "its owner cancelled it",
        _J.SUCCEEDED: "the program ended before it moved",
        _J.FAILED: "the program failed by itself",
    },
    _J.RESIZING: {
        _J.RUNNING: "it runs at its new size",
        _J.STARTING: "it starts again at its new size",
        _J.RECOVERING: "the platform lost the attempt while it was resized",
        _J.STOPPING: "its owner cancelled it",
        _J.SUCCEEDED: "the program ended before it was resized",
        _J.FAILED: "the program failed by itself",
    },
    _J.STOPPING: {_J.CANCELLED: "no node runs it any more"},
    _J.SUCCEEDED: {},
    _J.FAILED: {},
    _J.CANCELLED: {},
}

ATTEMPT: Table = {
    _A.STARTING: {
        _A.RUNNING: "the head submitted the program and it runs",
        _A.STOPPING: "its outcome is known, or it must make way",
    },
    _A.RUNNING: {_A.STOPPING: "its outcome is known, or it must make way"},
    _A.STOPPING: {_A.ENDED: "no node can be running it any more"},
    _A.ENDED: {},
}

NODE: Table = {
    _N.REQUESTED: {
        _N.PROVISIONING: "the provider accepted the launch",
        _N.FAILED: "the provider refused the launch",
        _N.TERMINATING: "it is not wanted any more, or the launch was never answered",
        _N.TERMINATED: "the provider says that it is gone",
    },
    _N.PROVISIONING: {
        _N.JOINING: "the provider says that the machine runs",
        _N.TERMINATING: "it is not wanted any more, or it took too long",
        _N.TERMINATED: "the provider says that it is gone",
    },
    _N.JOINING: {
        _N.READY: "its agent joined",
        _N.TERMINATING: "it is not wanted any more, or its agent never joined",
        _N.TERMINATED: "the provider says that it is gone",
    },
    _N.READY: {
        _N.CORDONED: "no new work may start on it",
        _N.DRAINING: "its work is told to leave",
        _N.LOST: "its agent is not heard",
        _N.TERMINATING: "it is not needed any more",
        _N.TERMINATED: "the provider says that it is gone",
    },
    _N.CORDONED: {
        _N.READY: "new work may start on it again",
        _N.DRAINING: "its work is told to leave",
        _N.LOST: "its agent is not heard",
        _N.TERMINATING: "it is not needed any more",
        _N.TERMINATED: "the provider says that it is gone",
    },
    _N.DRAINING: {
        _N.LOST: "its agent is not heard",
        _N.TERMINATING: "its work has left, or had its time to",
        _N.TERMINATED: "the provider says that it is gone",
    },
    _N.LOST: {
        _N.READY: "its agent is heard again",
        _N.TERMINATING: "it stayed unheard",
        _N.TERMINATED: "the provider says that it is gone",
    },
    _N.TERMINATING: {_N.TERMINATED: "the provider says that it is gone"},
    _N.TERMINATED: {},
    _N.FAILED: {},
}

INTENT: Table = {
    _I.PENDING: {
        _I.DONE: "the effect is known to have happened",
        _I.FAILED: "the effect is known not to happen",
        _I.CANCELLED: "it is owed no more",
    },
    _I.DONE: {},
    _I.FAILED: {},
    _I.CANCELLED: {},
}

HEALTH: Table = {
    _H.HEALTHY: {
        _H.SUSPECT: "a check found something that may be its fault",
        _H.FAULTY: "a check found something that is its fault",
        _H.RETIRED: "it failed too often, or cannot be repaired",
    },
    _H.SUSPECT: {
        _H.HEALTHY: "it passed its tests, or what was found turned out not to be its fault",
        _H.FAULTY: "it is its fault",
        _H.QUARANTINED: "nothing uses it; it is to be tested",
        _H.RETIRED: "it failed too often, or cannot be repaired",
    },
    _H.FAULTY: {
        _H.QUARANTINED: "it was repaired; it is to be tested",
        _H.RETIRED: "it failed too often, or cannot be repaired",
    },
    _H.QUARANTINED: {
        _H.HEALTHY: "it passed its tests",
        _H.FAULTY: "it failed its tests",
        _H.RETIRED: "it failed too often, or cannot be repaired",
    },
    _H.RETIRED: {},
}

INCIDENT: Table = {
    _X.OPEN: {
        _X.HELD: "the breaker forbids to act: too much of the fleet would leave at once",
        _X.REPAIRING: "nothing uses what is to be repaired, and its repair was ordered",
        _X.TESTING: "nothing is to be repaired; it is tested",
        _X.ESCALATED: "automation is at its end",
        _X.CLOSED: "the machine is gone, or nothing was wrong with it",
    },
    _X.HELD: {
        _X.OPEN: "a person reset the breaker",
        _X.ESCALATED: "a person takes over",
        _X.CLOSED: "the machine is gone, or nothing was wrong with it",
    },
    _X.REPAIRING: {
        _X.OPEN: "the repair failed; the next stronger one follows",
        _X.TESTING: "it was repaired",
        _X.ESCALATED: "automation is at its end",
        _X.CLOSED: "the machine is gone",
    },
    _X.TESTING: {
        _X.OPEN: "it failed its tests; the next stronger repair follows",
        _X.ESCALATED: "automation is at its end",
        _X.CLOSED: "it passed its tests, or the machine is gone",
    },
    _X.ESCALATED: {
        _X.TESTING: "a person says that it was repaired",
        _X.CLOSED: "a person closed it, or the machine is gone",
    },
    _X.CLOSED: {},
}

TABLES: Mapping[type, Table] = {
    Job: JOB, Attempt: ATTEMPT, Node: NODE, Intent: INTENT, Incident: INCIDENT, HealthRecord: HEALTH,
    Migration: EDGES, Service: services.EDGES, Replica: services.REPLICA_EDGES,
}  # fmt: skip


_SUBJECTS: Mapping[type, str] = {HealthRecord: "health"}


@dataclass(frozen=True)
class Deadline:
    """How long a state may last before somebody acts, and what is done then. None: as long as its owner wishes."""

    after_s: float | None
    then: str


DEADLINES: Mapping[StrEnum, Deadline] = {
    _J.QUEUED: Deadline(None, "waits for capacity; its reasons are on `explain`, and its owner may cancel it"),
    _J.STARTING: Deadline(600, "the attempt's own deadline interrupts it"),
    _J.RUNNING: Deadline(None, "runs as long as its program does"),
    _J.RECOVERING: Deadline(None, "waits for capacity like a queued job"),
    _J.MIGRATING: Deadline(600, "its migration's own deadline ends that; then it recovers"),
    _J.RESIZING: Deadline(600, "nodes that did not join it are given back; one that starts again waits as it has to"),
    _J.STOPPING: Deadline(60, "the attempt's own deadline releases its slots"),
    # Ray's head and a worker start in under 10 s; installing a job's requirements is what takes minutes.
    _A.STARTING: Deadline(600, "it is interrupted and placed anew"),
    _A.RUNNING: Deadline(None, "runs as long as its program does"),
    # An agent ends a process group in seconds; one that does not in a minute is as good as lost.
    _A.STOPPING: Deadline(60, "nodes that have not stopped it are terminated"),
    _N.REQUESTED: Deadline(180, "terminated: a launch unanswered for so long is looked up by token and ended"),
    _N.PROVISIONING: Deadline(900, "terminated: clouds take seconds to ten minutes to boot a GPU machine"),
    # Installing the agent with Ray takes one to five minutes; a startup script that gives up says so at once.
    _N.JOINING: Deadline(600, "terminated: its startup script neither brought the agent up nor said why"),
    _N.READY: Deadline(None, "released when idle"),
    _N.CORDONED: Deadline(None, "as long as an operator wishes"),
    _N.DRAINING: Deadline(600, "terminated"),
    _N.LOST: Deadline(60, "terminated: a machine that is not heard costs money and does nothing"),
    _N.TERMINATING: Deadline(None, "repeated until the provider says that it is gone"),
    _I.PENDING: Deadline(None, "repeated with a growing pause until done, refused, or owed no more"),
    _X.OPEN: Deadline(900, "what still runs there is ended; then the repair is ordered"),
    _X.HELD: Deadline(None, "as long as a person takes"),
    # A machine with eight GPUs and much memory boots in five to fifteen minutes.
    _X.REPAIRING: Deadline(1_200, "taken as failed; the next stronger repair follows"),
    # Delivery checks take 10 to 30 minutes (Aegis, NSDI'25); ours are bounded to less.
    _X.TESTING: Deadline(1_800, "taken as failed; the next stronger repair follows"),
    _X.ESCALATED: Deadline(None, "as long as a person takes"),
    _H.HEALTHY: Deadline(None, "as long as nothing is found"),
    _H.SUSPECT: Deadline(None, "its incident has deadlines"),
    _H.FAULTY: Deadline(None, "its incident has deadlines"),
    _H.QUARANTINED: Deadline(None, "its incident has deadlines"),
    **{
        state: Deadline(*wait)
        for waits in (WAITS_S, services.WAITS_S, services.REPLICA_WAITS_S)
        for state, wait in waits.items()
    },
}


def is_final(state: StrEnum) -> bool:
    """Whether nothing can follow this state."""
    return not _table_of(state)[state]


def is_overdue(state: StrEnum, since: float, now: float) -> bool:
    """Whether an entity has been in `state` since `since` for longer than the state's deadline."""
    deadline = DEADLINES.get(state)
    return deadline is not None and deadline.after_s is not None and now - since > deadline.after_s


def advance(entity: Entity, to: StrEnum, *, reason: str, actor: str, now: float) -> tuple[Entity, Event]:
    """Move `entity` to state `to`; returns the moved copy and the event that says so. Pure.

    Raises `InvalidTransition`, naming the edges that exist, when the table has no such edge. Both results must be
    stored in one transaction, guarded by `entity.version`.
    """
    table = TABLES[type(entity)]
    subject = _SUBJECTS.get(type(entity), type(entity).__name__.lower())
    if to not in table[entity.state]:
        edges = ", ".join(sorted(table[entity.state])) or "none: it is final"
        raise InvalidTransition(f"{subject} {entity.id} is {entity.state} and cannot become {to} (possible: {edges})")
    event = Event(
        at=now, kind=f"{subject}.state", subject=subject, subject_id=entity.id, reason=reason, actor=actor,
        old=entity.state, new=to, job_id=_job_of(entity), node_id=_node_of(entity),
    )  # fmt: skip
    return replace(entity, state=to, state_since=now), event  # type: ignore[arg-type]


def _job_of(entity: Advanced) -> str | None:
    if isinstance(entity, Job):
        return entity.id
    return entity.job_id if isinstance(entity, Attempt | Intent | Migration | Replica) else None


def _node_of(entity: Advanced) -> str | None:
    if isinstance(entity, Node):
        return entity.id
    return entity.node_id if isinstance(entity, Intent | Incident | HealthRecord) else None


def _table_of(state: StrEnum) -> Table:
    return next(table for table in TABLES.values() if any(type(state) is type(key) for key in table))
