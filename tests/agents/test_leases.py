"""A control plane that is gone: programs end with the lease, and replicas of services serve on."""

from pathlib import Path

import pytest
from godwit.agents import leases
from godwit.agents.core import Core
from godwit.agents.effects import StopRuntime
from godwit.agents.runtime.guard import read_deadline_s
from godwit.agents.state import AgentState
from godwit.domain.wire.agents import HeartbeatReply, StartAttempt
from godwit.domain.wire.replicas import Serve

from tests.agents.test_state import LEASE_S, NOW, start


def replica(job: str) -> StartAttempt:
    return start(job).model_copy(update={"serve": Serve()})


@pytest.fixture
def agent() -> AgentState:
    """An agent with a program and a replica."""
    state = AgentState("agent-one")
    state.renewed(NOW, LEASE_S)
    state.command(start("program"), NOW)
    state.command(replica("service"), NOW)
    return state


def test_replicas_serve_on_for_an_hour_after_the_lease_that_ends_programs(agent: AgentState) -> None:
    late = NOW + LEASE_S + leases.REPLICA_S
    stopped = [(effect.attempt_id, at) for at in (NOW + LEASE_S, late - 1, late) for effect in stops(agent, at)]
    assert stopped == [("program-1", NOW + LEASE_S), ("service-1", late)]


def test_no_replica_starts_without_a_lease_and_one_that_is_fenced_ends_at_once(agent: AgentState) -> None:
    assert agent.command(replica("another"), NOW + LEASE_S) == []
    assert agent.fenced(["service-1"], NOW + LEASE_S) != []


def test_the_guards_of_replicas_read_an_hour_more(tmp_path: Path) -> None:
    core = Core(AgentState("agent-one"), tmp_path, lambda _effect: None)
    core.answered(100.0, HeartbeatReply(lease_s=15, heartbeat_s=1, acknowledged_seq=0))
    found = [read_deadline_s(leases.path(core.lease_path, one)) for one in (start(), replica("service"))]
    assert found == [115.0, 115.0 + leases.REPLICA_S]


def stops(agent: AgentState, now: float) -> list[StopRuntime]:
    return [effect for effect in agent.tick(now) if isinstance(effect, StopRuntime)]
