"""The core of the agent: epochs, leases, exactly one end of each attempt, and a journal that loses nothing."""

from typing import Any

import pytest
from godwit.agents.effects import (
    Committed,
    Deleted,
    Found,
    Progress,
    Repair,
    Repaired,
    Replica,
    Restored,
    Running,
    StartRuntime,
    Stopped,
    StopRuntime,
)
from godwit.agents.state import AgentState
from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.agents import AttemptStopped, CommandDone, HeartbeatRequest, Peer, StartAttempt, StopAttempt
from godwit.domain.wire.health import RepairNode
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

NOW = 1_000.0
LEASE_S = 15.0


def start(job: str = "job-a", epoch: int = 1, intent: str | None = None, gpus: list[int] | None = None) -> StartAttempt:
    return StartAttempt(
        intent_id=intent or f"start-{job}-{epoch}",
        job_id=job,
        job_name="a",
        attempt_id=f"{job}-{epoch}",
        epoch=epoch,
        rank=0,
        peers=[Peer(rank=0, node_id="node-1", address="127.0.0.10")],
        gpus=gpus or [],
        port=20_000,
        ray_token="t" * 64,
        run="echo hi",
        setup=None,
        workdir_digest=None,
        env={},
        store="file:///nowhere",
    )


def stop(job: str = "job-a", epoch: int = 1, grace_s: float = 5.0, intent: str | None = None) -> StopAttempt:
    return StopAttempt(
        intent_id=intent or f"stop-{job}-{epoch}",
        job_id=job,
        attempt_id=f"{job}-{epoch}",
        epoch=epoch,
        grace_s=grace_s,
        reason="its owner cancelled it",
    )


@pytest.fixture
def agent() -> AgentState:
    state = AgentState("agent-one")
    state.renewed(NOW, LEASE_S)
    return state


def answers(state: AgentState) -> list[tuple[str, bool]]:
    return [(o.intent_id, o.accepted) for o in state.observations() if isinstance(o, CommandDone)]


def ends(state: AgentState) -> list[AttemptStopped]:
    return [o for o in state.observations() if isinstance(o, AttemptStopped)]


def test_a_start_is_taken_on_and_starts_the_runtime_once(agent: AgentState) -> None:
    assert agent.command(start(), NOW) == [StartRuntime(start())]
    assert agent.command(start(), NOW) == []
    assert answers(agent) == [("start-job-a-1", True)]
    assert [a.attempt_id for a in agent.live()] == ["job-a-1"]


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_that_is_not_newer_is_refused(agent: AgentState, epoch: int) -> None:
    agent.command(start(epoch=2), NOW)
    assert agent.command(start(epoch=epoch, intent="another"), NOW) == []
    assert answers(agent)[-1] == ("another", False)


def test_a_newer_epoch_waits_until_the_older_one_is_gone(agent: AgentState) -> None:
    agent.command(start(epoch=1), NOW)
    (effect,) = agent.command(start(epoch=2), NOW)
    assert isinstance(effect, StopRuntime)
    assert effect.attempt_id == "job-a-1"
    assert ("start-job-a-2", True) not in answers(agent)
    assert agent.command(start(epoch=2), NOW) == []

    agent.runtime(Stopped("job-a-1", "interrupted"), NOW)
    assert agent.command(start(epoch=2), NOW) == [StartRuntime(start(epoch=2))]


def test_gpus_that_a_running_attempt_holds_are_refused_and_those_of_a_stopping_one_are_waited_for(
    agent: AgentState,
) -> None:
    agent.command(start("job-a", gpus=[0, 1]), NOW)
    assert agent.command(start("job-b", gpus=[1]), NOW) == []
    assert answers(agent)[-1] == ("start-job-b-1", False)

    agent.command(stop("job-a"), NOW)
    assert agent.command(start("job-c", gpus=[1]), NOW) == []
    assert answers(agent)[-1] == ("stop-job-a-1", True)
    agent.runtime(Stopped("job-a-1", "cancelled"), NOW)
    assert agent.command(start("job-c", gpus=[1]), NOW) == [StartRuntime(start("job-c", gpus=[1]))]


def test_shares_of_one_gpu_run_beside_each_other_until_it_is_full(agent: AgentState) -> None:
    def share(job: str, milli: int) -> StartAttempt:
        return start(job, gpus=[0]).model_copy(update={"gpu_milli": milli})

    assert agent.command(share("job-a", 500), NOW) == [StartRuntime(share("job-a", 500))]
    assert agent.command(share("job-b", 500), NOW) == [StartRuntime(share("job-b", 500))]
    assert agent.command(share("job-c", 50), NOW) == []
    assert not answers(agent)[-1][1]

    agent.command(stop("job-a"), NOW)
    assert agent.command(share("job-d", 500), NOW) == [], "it waits for the one that is stopping"
    assert answers(agent)[-1] == ("stop-job-a-1", True)
    agent.runtime(Stopped("job-a-1", "cancelled"), NOW)
    assert agent.command(share("job-d", 500), NOW) == [StartRuntime(share("job-d", 500))]


def test_a_stop_for_a_never_seen_attempt_is_reported_and_a_late_start_is_refused(agent: AgentState) -> None:
    assert agent.command(stop(), NOW) == []
    (end,) = ends(agent)
    assert (end.attempt_id, end.outcome) == ("job-a-1", "cancelled")
    assert agent.command(start(), NOW) == []
    assert answers(agent) == [("stop-job-a-1", True), ("start-job-a-1", False)]


def test_stopping_again_changes_nothing_but_a_shorter_grace_is_passed_on(agent: AgentState) -> None:
    agent.command(start(), NOW)
    assert agent.command(stop(grace_s=5), NOW) == [StopRuntime("job-a-1", 5, "its owner cancelled it")]
    assert agent.command(stop(grace_s=9, intent="again"), NOW) == []
    (effect,) = agent.fenced(["job-a-1"], NOW)
    assert isinstance(effect, StopRuntime)
    assert effect.grace_s == 0
    assert agent.fenced(["job-a-1", "unknown"], NOW) == []
    agent.runtime(Stopped("job-a-1", "failed", exit_code=143), NOW)
    (end,) = ends(agent)
    assert (end.outcome, end.exit_code, end.detail) == ("cancelled", None, "its owner cancelled it")


def test_a_program_that_ends_well_while_it_is_stopped_has_succeeded(agent: AgentState) -> None:
    agent.command(start(), NOW)
    agent.command(stop(), NOW)
    agent.runtime(Stopped("job-a-1", "succeeded", exit_code=0), NOW)
    assert [(e.outcome, e.exit_code) for e in ends(agent)] == [("succeeded", 0)]


def test_without_a_lease_nothing_starts(agent: AgentState) -> None:
    fresh = AgentState("agent-two")
    assert fresh.command(start(), NOW) == []
    assert agent.command(start(), NOW + LEASE_S) == []
    assert answers(fresh) == answers(agent) == []
    agent.renewed(NOW + LEASE_S, LEASE_S)
    assert agent.command(start(), NOW + LEASE_S) == [StartRuntime(start())]


def test_a_lease_that_ran_out_stops_everything_once(agent: AgentState) -> None:
    agent.command(start("job-a"), NOW)
    agent.command(start("job-b"), NOW)
    assert agent.tick(NOW + LEASE_S - 0.1) == []
    effects = agent.tick(NOW + LEASE_S)
    assert [e.attempt_id for e in effects if isinstance(e, StopRuntime)] == ["job-a-1", "job-b-1"]
    assert agent.tick(NOW + LEASE_S + 1) == []
    agent.runtime(Stopped("job-a-1", "interrupted"), NOW)
    (end,) = ends(agent)
    assert end.outcome == "interrupted"
    assert "lease ran out" in end.detail


def test_an_answer_that_overtook_a_later_one_does_not_shorten_the_lease(agent: AgentState) -> None:
    agent.renewed(NOW + 5, LEASE_S)
    agent.renewed(NOW + 1, LEASE_S)
    assert agent.lease_until == NOW + 5 + LEASE_S


def test_what_the_runtime_sees_becomes_numbered_observations(agent: AgentState) -> None:
    agent.command(start(), NOW)
    agent.runtime(Restored("job-a-1", 40, 1, "file:///m.json", ("file:///n.json",)), NOW)
    agent.runtime(Running("job-a-1"), NOW)
    agent.runtime(Running("job-a-1"), NOW)
    agent.runtime(Committed("job-a-1", 45, NOW, 10, 1, "file:///o.json"), NOW)
    agent.runtime(Deleted("job-a-1", ("file:///k.json",)), NOW)
    agent.runtime(Stopped("job-a-1", "failed", 3, "exit code 3", ("boom",)), NOW)
    agent.runtime(Stopped("job-a-1", "succeeded", 0), NOW)
    agent.runtime(Deleted("job-a-1", ("file:///late.json",)), NOW)
    agent.runtime(Running("unknown"), NOW)
    seen = agent.observations()
    assert [o.type for o in seen] == [
        "command-done",
        "checkpoint-restored",
        "attempt-running",
        "checkpoint-committed",
        "checkpoints-deleted",
        "attempt-stopped",
    ]
    assert [o.seq for o in seen] == [1, 2, 3, 4, 5, 6]
    HeartbeatRequest(agent_id="agent-one", observations=seen)
    agent.acknowledge(3)
    assert [o.seq for o in agent.observations()] == [4, 5, 6]


def test_what_stands_is_told_again_once_to_a_control_plane_that_was_restored(agent: AgentState) -> None:
    agent.command(start(), 0.0)
    (live,) = agent.live()
    agent.runtime(Running(live.attempt_id), 1.0)
    agent.runtime(Replica(live.attempt_id, ready=False, port=9000), 1.0)
    agent.runtime(Replica(live.attempt_id, ready=True, port=9000), 2.0)
    last = agent.observations()[-1]
    agent.acknowledge(last.seq)
    assert not agent.restored(None)
    assert agent.restored(50.0)
    agent = AgentState.from_json(agent.to_json())
    assert agent.observations() == [last.model_copy(update={"seq": last.seq + 1})], "the last word on the replica"
    agent.acknowledge(last.seq + 1)
    assert not agent.restored(50.0)
    assert agent.observations() == []
    assert agent.restored(90.0)
    assert len(agent.observations()) == 1


def test_only_the_newest_progress_of_an_attempt_is_kept(agent: AgentState) -> None:
    agent.command(start("job-a"), NOW)
    agent.command(start("job-b"), NOW)
    agent.acknowledge(2)
    for step in range(5):
        agent.runtime(Progress("job-a-1", NOW, step, 5, {"loss": 1.0}), NOW)
        agent.runtime(Progress("job-b-1", NOW, step), NOW)
    assert [(o.type, o.seq) for o in agent.observations()] == [("job-progress", 11), ("job-progress", 12)]


def test_a_restart_finds_what_was_running_and_repeats_what_was_being_stopped(agent: AgentState) -> None:
    agent.command(start("job-a"), NOW)
    agent.command(start("job-b"), NOW)
    agent.command(stop("job-b", grace_s=3), NOW)
    again = AgentState.from_json(agent.to_json())
    assert again.resume(NOW + 1) == [
        StartRuntime(start("job-a")),
        StopRuntime("job-b-1", 3, "its owner cancelled it"),
    ]
    late = AgentState.from_json(agent.to_json())
    assert all(isinstance(effect, StopRuntime) for effect in late.resume(NOW + LEASE_S))


def test_a_journal_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        AgentState.from_json(AgentState("agent-one").to_json()[:-5])


class AnyHistory(RuleBasedStateMachine):
    """Any order of commands, repeats, lapses, fences, ends and restarts of the agent."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.state = AgentState("agent-one")
        self.running: dict[str, tuple[str, int]] = {}
        self.started: set[str] = set()
        self.stopping: set[str] = set()
        self.ended: list[str] = []
        self.last_seq = 0

    def carry_out(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, StartRuntime):
                cmd = effect.command
                others = [v for k, v in self.running.items() if k != cmd.attempt_id and v[0] == cmd.job_id]
                assert not others, "two epochs of one job run at once"
                assert cmd.attempt_id not in self.ended, "it had ended here"
                self.running[cmd.attempt_id] = (cmd.job_id, cmd.epoch)
                self.started.add(cmd.attempt_id)
            else:
                self.stopping.add(effect.attempt_id)

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.state.tick(self.now))

    @rule()
    def a_heartbeat_is_answered(self) -> None:
        self.state.renewed(self.now, LEASE_S)

    @rule(job=st.sampled_from("ab"), epoch=st.integers(1, 4), intent=st.sampled_from("xy"))
    def a_start_comes(self, job: str, epoch: int, intent: str) -> None:
        command = start(job, epoch, f"start-{job}-{epoch}-{intent}")
        self.carry_out(self.state.command(command, self.now))

    @rule(job=st.sampled_from("ab"), epoch=st.integers(1, 4), grace_s=st.sampled_from([0.0, 5.0]))
    def a_stop_comes(self, job: str, epoch: int, grace_s: float) -> None:
        self.carry_out(self.state.command(stop(job, epoch, grace_s), self.now))

    @rule(job=st.sampled_from("ab"), epoch=st.integers(1, 4))
    def a_fence_comes(self, job: str, epoch: int) -> None:
        self.carry_out(self.state.fenced([f"{job}-{epoch}"], self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "interrupted"]))
    def an_attempt_ends(self, data: st.DataObject, outcome: Any) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[attempt]
        self.carry_out(self.state.runtime(Stopped(attempt, outcome), self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), step=st.integers(0, 9))
    def an_attempt_reports(self, data: st.DataObject, step: int) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.running)))
        self.state.runtime(Running(attempt), self.now)
        self.state.runtime(Progress(attempt, self.now, step), self.now)

    @rule(count=st.integers(1, 4))
    def observations_are_acknowledged(self, count: int) -> None:
        seen = self.state.observations()[:count]
        for observation in seen:
            assert observation.seq > self.last_seq
            self.last_seq = observation.seq
            if isinstance(observation, AttemptStopped):
                self.ended.append(observation.attempt_id)
        self.state.acknowledge(self.last_seq)

    @rule()
    def the_agent_restarts(self) -> None:
        before = self.state
        self.state = AgentState.from_json(before.to_json())
        assert self.state.to_json() == before.to_json()
        self.carry_out(self.state.resume(self.now))

    @invariant()
    def no_two_epochs_of_a_job_are_live(self) -> None:
        jobs = [attempt.attempt_id.split("-")[0] for attempt in self.state.live()]
        assert len(jobs) == len(set(jobs))
        assert {attempt.attempt_id for attempt in self.state.live()} == set(self.running)

    @invariant()
    def each_attempt_ends_once(self) -> None:
        reported = self.ended + [end.attempt_id for end in ends(self.state)]
        assert len(reported) == len(set(reported))
        assert self.started - set(self.running) <= set(reported)

    @invariant()
    def what_must_stop_was_told_to(self) -> None:
        lease_until = self.state.lease_until
        if lease_until is not None and self.now >= lease_until and self.running:
            self.carry_out(self.state.tick(self.now))
            assert set(self.running) <= self.stopping


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_command_that_comes_again_after_its_answer_was_acknowledged_is_answered_alike(*, accepted: bool) -> None:
    """A database that was restored lost the answer, and would owe the command, and keep the node, for ever."""
    state = AgentState("agent-1")
    state.renewed(NOW, LEASE_S)
    if not accepted:
        state.command(start(epoch=2, intent="newer"), NOW)
    state.command(start(epoch=1, intent="again"), NOW)
    state.acknowledge(10**6)
    for _ in range(2):
        assert state.command(start(epoch=1, intent="again"), NOW) == []
    (said,) = state.observations()
    assert isinstance(said, CommandDone)
    assert (said.intent_id, said.accepted) == ("again", accepted)


def test_an_order_is_taken_on_once_repeated_after_a_restart_and_answered_once() -> None:
    state = AgentState("agent-1")
    order = RepairNode(intent_id="i-1", remedy=Remedy.REBOOT, gpus=[], reason="it fell off the bus")
    assert state.command(order, 0.0) == [Repair(order)]
    assert state.command(order, 1.0) == []
    state = AgentState.from_json(state.to_json())
    assert state.resume(2.0) == [Repair(order)]
    for _ in range(2):
        state.health(Repaired("i-1", worked=True), 3.0)
    kinds = [seen.type for seen in state.observations()]
    assert kinds == ["command-done", "repair-done"]
    assert state.resume(4.0) == []


def test_what_a_check_finds_is_told_until_it_is_acknowledged() -> None:
    state = AgentState("agent-1")
    state.health(Found("xid", Grade.UNHEALTHY, "fell off the bus", code="xid:79", gpu="GPU-1"), 0.0)
    (seen,) = state.observations()
    assert (seen.type, seen.seq) == ("finding", 1)
    state.acknowledge(1)
    assert state.observations() == []
