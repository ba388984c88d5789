"""What the core of the agent does about a notice: it tells it first, and lets what runs save within what is left."""

from godwit.agents.effects import Noticed, StopRuntime
from godwit.agents.state import AgentState
from godwit.domain import grace
from godwit.domain.wire.notices import NoticeSeen
from godwit.domain.wire.replicas import Serve
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.test_state import LEASE_S, NOW, start


def agent_at_work() -> AgentState:
    state = AgentState("agent-one")
    state.renewed(NOW, LEASE_S)
    state.command(start("job-a"), NOW)
    return state


def test_what_runs_is_told_at_once_and_the_control_plane_hears_of_it_first() -> None:
    state = agent_at_work()
    (stop,) = state.noticed(Noticed("ec2", 120.0, "it is taken back"))
    assert isinstance(stop, StopRuntime)
    assert stop.grace_s == grace.within(120.0) == 80.0
    said = state.observations()[-1]
    assert isinstance(said, NoticeSeen)
    assert (said.source, said.within_s) == ("ec2", 120.0)


def test_a_nearer_notice_shortens_the_grace_and_a_later_one_does_not_lengthen_it() -> None:
    state = agent_at_work()
    state.noticed(Noticed("ec2", 120.0))
    (nearer,) = state.noticed(Noticed("sigterm", 60.0))
    assert isinstance(nearer, StopRuntime)
    assert nearer.grace_s == grace.within(60.0)
    assert state.noticed(Noticed("file", 600.0)) == []


def test_a_replica_of_a_service_serves_on_until_it_is_told_to_stop() -> None:
    state = AgentState("agent-one")
    state.renewed(NOW, LEASE_S)
    state.command(start("job-a").model_copy(update={"serve": Serve()}), NOW)
    assert state.noticed(Noticed("ec2", 120.0)) == []
    assert isinstance(state.observations()[-1], NoticeSeen)


def test_a_warning_without_a_time_stops_nothing() -> None:
    state = agent_at_work()
    assert state.noticed(Noticed("ec2", None)) == []
    assert isinstance(state.observations()[-1], NoticeSeen)


@given(st.floats(0, 604_800))
def test_the_program_always_has_most_of_the_time_and_its_checkpoint_some(left_s: float) -> None:
    assert left_s * 0.6 <= grace.within(left_s) <= left_s
