"""The tables hold: every edge works, every other move raises, and every state that is not final can end."""

from enum import StrEnum
from pathlib import Path

import pytest
from godwit.domain import lifecycle, lifecycle_drawing
from godwit.domain.errors import InvalidTransition
from godwit.domain.health import HealthRecord, Incident, IncidentState, Remedy
from godwit.domain.ids import (
    AttemptId,
    IncidentId,
    IntentId,
    JobId,
    MigrationId,
    NodeId,
    ProjectId,
    ProviderName,
    ServiceId,
)
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import Attempt, AttemptState, Job, JobSpec, JobState
from godwit.domain.migrations import Migration, MigrationState
from godwit.domain.nodes import Health, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.services import Replica, ReplicaState, Service, ServiceState

OFFER = Offer(ProviderName("p"), "r", None, "t", "H100-SXM", 8, 80.0, 100, 1000.0, 20.0)


def entity_in(state: StrEnum) -> lifecycle.Advanced:  # noqa: PLR0911 - one return for each kind
    """Some entity in a state."""
    if isinstance(state, JobState):
        return Job(JobId("job-1"), ProjectId("default"), JobSpec("a", "true"), state, 0.0, 0.0)
    if isinstance(state, AttemptState):
        return Attempt(AttemptId("attempt-1"), JobId("job-1"), 1, state, (), 20_000, 0.0, 0.0)
    if isinstance(state, NodeState):
        return Node(NodeId("node-1"), OFFER, state, 0.0, 0.0)
    if isinstance(state, IncidentState):
        return Incident(
            IncidentId("inc-1"), NodeId("node-1"), "p", state, 0.0, 0.0, "xid", "xid:79", "table", "lost", Remedy.REBOOT
        )
    if isinstance(state, Health):
        return HealthRecord("GPU-1", state, 0.0, 0.0, NodeId("node-1"), "p")
    if isinstance(state, MigrationState):
        return Migration(MigrationId("migration-1"), JobId("job-1"), state, 0.0, 0.0, "user", "because", 1)
    if isinstance(state, ServiceState):
        return Service(ServiceId("service-1"), ProjectId("default"), "chat", state, 0.0, 0.0, 1, ())
    if isinstance(state, ReplicaState):
        return Replica(JobId("job-1"), ServiceId("service-1"), "chat-0", 1, 0, state, 0.0, 0.0)
    assert isinstance(state, IntentState)
    return Intent(IntentId("intent-1"), IntentKind.LAUNCH_NODE, state, NodeId("node-1"), 0.0, 0.0, "because")


STATES = [state for table in lifecycle.TABLES.values() for state in table]
EDGES = [(state, to) for table in lifecycle.TABLES.values() for state in table for to in table[state]]
NON_EDGES = [
    (state, to) for table in lifecycle.TABLES.values() for state in table for to in table if to not in table[state]
]


def table_of(state: StrEnum) -> lifecycle.Table:
    return next(table for table in lifecycle.TABLES.values() if type(state) is type(next(iter(table))))


@pytest.mark.parametrize(("state", "to"), EDGES)
def test_every_edge_works_and_tells_its_event(state: StrEnum, to: StrEnum) -> None:
    moved, event = lifecycle.advance(entity_in(state), to, reason="because", actor="test", now=5.0)  # type: ignore[type-var]
    assert (moved.state, moved.state_since) == (to, 5.0)
    assert (event.old, event.new, event.reason, event.actor, event.at) == (state, to, "because", "test", 5.0)


@pytest.mark.parametrize(("state", "to"), NON_EDGES)
def test_every_other_move_is_refused_with_the_edges_there_are(state: StrEnum, to: StrEnum) -> None:
    with pytest.raises(InvalidTransition, match="possible"):
        lifecycle.advance(entity_in(state), to, reason="because", actor="test", now=5.0)  # type: ignore[type-var]


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_end(state: StrEnum) -> None:
    table, reached = table_of(state), {state}
    while True:
        further = reached | {to for known in reached for to in table[known]}
        if further == reached:
            break
        reached = further
    assert any(lifecycle.is_final(known) for known in reached)


@pytest.mark.parametrize("state", STATES)
def test_every_state_that_is_not_final_has_a_deadline_and_an_exit(state: StrEnum) -> None:
    assert (state in lifecycle.DEADLINES) != lifecycle.is_final(state)


@pytest.mark.parametrize("state", STATES)
def test_every_edge_has_a_reason(state: StrEnum) -> None:
    assert all(reason for reason in table_of(state)[state].values())


def test_a_deadline_passes() -> None:
    after_s = lifecycle.DEADLINES[NodeState.JOINING].after_s
    assert after_s is not None
    assert not lifecycle.is_overdue(NodeState.JOINING, 0.0, after_s)
    assert lifecycle.is_overdue(NodeState.JOINING, 0.0, after_s + 1)
    assert not lifecycle.is_overdue(NodeState.READY, 0.0, 1e9)


def test_the_documentation_draws_these_tables() -> None:
    page = Path(__file__).parents[2] / "docs" / "lifecycles.md"
    assert page.read_text() == lifecycle_drawing.markdown(), "run python -m godwit.domain.lifecycle_drawing"
