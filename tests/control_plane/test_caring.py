"""What is decided about health is carried out: rows, orders to agents, evictions, and a timeline that tells of it."""

import pytest
from godwit.control_plane.reconcilers.caring import UNSAVED_GRACE_S
from godwit.control_plane.services import nodes
from godwit.control_plane.services.attempts import PREEMPT_GRACE_S
from godwit.domain.errors import InvariantBroken
from godwit.domain.health import IncidentState, Remedy
from godwit.domain.ids import AttemptId, GpuUuid, JobId, NodeId
from godwit.domain.intents import IntentKind
from godwit.domain.jobs import Slot
from godwit.domain.nodes import Health
from godwit.domain.wire.agents import CommandDone
from godwit.domain.wire.health import ChecksDone, RepairDone
from godwit.scheduler.health.view import CHECKS, REPAIR, SWEEP
from godwit.scheduler.plan import (
    CordonNode,
    DecideFinding,
    Evict,
    MarkHealth,
    MoveIncident,
    RepairNode,
    StartAttempt,
    TripBreaker,
)
from godwit.scheduler.plan import TestNode as RunTests

from tests.control_plane.caring import carry_out, opened, timeline, view
from tests.control_plane.world import World


def test_a_decision_without_an_incident_is_told_of_the_node_and_made_once(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:13", gpu=0))
    (finding,) = view(embedded).findings
    action = DecideFinding(finding.id, Remedy.NONE, "table", "the program's fault")
    carry_out(embedded, action)
    carry_out(embedded, action)
    (told,) = embedded.events("node.finding-decided")
    assert (told.node_id, told.data["rule"], told.data["remedy"]) == (agent.node_id, "table", "none")
    assert [finding.decided for finding in view(embedded).findings] == [True]


def test_an_incident_from_symptom_to_first_new_step_is_one_timeline(world: World) -> None:
    job_id, (agent,) = world.run()
    node_id, attempt = NodeId(agent.node_id), world.attempt(job_id)
    agent.beat(agent.found("xid:79", gpu=3))
    world.clock.advance(1.0)
    case = opened(world, node_id, 3)
    gpu = case.gpus[0]
    evict = Evict(AttemptId(attempt.id), JobId(job_id), case.id, saves=False, reason="GPU 3 is lost")
    carry_out(world, MarkHealth(gpu, node_id, Health.FAULTY, "lost"), CordonNode(node_id, "GPU 3 is lost"), evict)
    assert world.node(node_id).state == "cordoned"
    assert [gpu.health for gpu in world.node(node_id).gpus if gpu.index == 3] == [Health.FAULTY]
    assert (world.attempt(job_id).outcome, world.job(job_id).state, world.job(job_id).interruptions) == (
        "evicted", "recovering", 0
    )  # fmt: skip
    (stop,) = agent.commands()
    assert (stop.type, stop.grace_s) == ("stop-attempt", UNSAVED_GRACE_S)
    agent.take_on()
    assert view(world).incidents[0].job_ids == (job_id,)

    elsewhere = world.boot()
    elsewhere[0].take_on()
    elsewhere[0].report_step(world.attempt(job_id), 1)
    elsewhere[0].report_step(world.attempt(job_id), 2)

    (command,) = agent.take_on()  # from here on the policy goes on with what it finds
    assert (command.type, command.remedy, command.gpus) == ("repair-node", "reboot", [])
    assert [(order.kind, order.passed) for order in view(world).orders] == [(REPAIR, None)]
    agent.beat(agent.observed(RepairDone, intent_id=command.intent_id, worked=True, detail="up again"))
    world.plan()
    (command,) = agent.take_on()
    assert (command.type, command.occasion) == ("run-checks", "return")
    assert 3 in command.gpus
    agent.beat(agent.observed(ChecksDone, intent_id=command.intent_id, passed=True, figures={"tflops": 700.0}))
    assert {order.kind: order.passed for order in view(world).orders} == {REPAIR: True, CHECKS: True}
    world.plan()
    assert (world.node(node_id).state, view(world).incidents) == ("ready", ())
    assert [one.id for one in view(world).past] == [case.id]
    told = [event for event in timeline(world, case.id) if event.kind != "incident.state"]
    assert [event.kind.removeprefix("incident.") for event in told] == [
        "symptom", "decision", "eviction", "repair", "restart", "first-step", "repaired", "test", "tested",
    ]  # fmt: skip
    symptom = told[0]
    assert (symptom.at, symptom.job_id) == (view(world).past[0].opened_at - 1.0, job_id)


def test_a_job_whose_work_can_be_trusted_has_time_to_save_it(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    agent.beat(agent.found("remap:pending", gpu=3))
    case = opened(embedded, agent.node_id, 3, remedy=Remedy.RESET_GPU)
    evict = Evict(AttemptId(embedded.attempt(job_id).id), JobId(job_id), case.id, saves=True, reason="a reset is due")
    carry_out(embedded, evict, evict)
    (stop,) = agent.commands()
    assert stop.grace_s == PREEMPT_GRACE_S
    assert len(embedded.events("job.evicted")) == 1


def test_a_remedy_that_was_begun_was_tried_when_another_follows_and_the_detail_stays(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:95", gpu=3))
    case = opened(embedded, agent.node_id, 3, remedy=Remedy.RESET_GPU, detail="cordoned by a person")
    carry_out(embedded, MoveIncident(case.id, IncidentState.REPAIRING, "its reset is due", Remedy.RESET_GPU))
    carry_out(embedded, MoveIncident(case.id, IncidentState.OPEN, "the reset failed", Remedy.REBOOT))
    carry_out(embedded, MoveIncident(case.id, IncidentState.OPEN, "worse was found", Remedy.REPLACE_NODE))
    (moved,) = view(embedded).incidents
    assert (moved.remedy, moved.tried) == (Remedy.REPLACE_NODE, (Remedy.RESET_GPU,))
    assert moved.detail == "cordoned by a person"
    assert timeline(embedded, case.id)[-1].kind == "incident.decision"


def test_a_device_counts_each_time_that_it_goes_from_healthy_to_bad(embedded: World) -> None:
    _, (agent,) = embedded.run()
    node_id, gpu = NodeId(agent.node_id), GpuUuid(f"GPU-{agent.node_id}-0")
    for state in (Health.SUSPECT, Health.FAULTY, Health.QUARANTINED, Health.HEALTHY, Health.FAULTY):
        carry_out(embedded, MarkHealth(gpu, node_id, state, "a test says so"))
    carry_out(embedded, MarkHealth(gpu, node_id, Health.FAULTY, "said twice"))
    record = view(embedded).records[gpu]
    assert (record.state, record.faults, record.reason) == (Health.FAULTY, 2, "a test says so")


def test_a_machine_has_a_record_of_its_own(embedded: World) -> None:
    _, (agent,) = embedded.run()
    carry_out(embedded, MarkHealth(agent.node_id, NodeId(agent.node_id), Health.SUSPECT, "its disk is slow"))
    record = view(embedded).records[agent.node_id]
    assert (record.provider, record.state) == ("cheap", Health.SUSPECT)
    assert {gpu.health for gpu in embedded.node(agent.node_id).gpus} == {Health.HEALTHY}


def test_a_reset_of_a_node_names_all_its_gpus(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("nvlink", gpu=0))
    case = opened(embedded, agent.node_id)
    carry_out(embedded, RepairNode(NodeId(agent.node_id), case.id, Remedy.DRAIN_AND_RESET, (), "all links"))
    (command,) = agent.commands()
    assert (command.remedy, len(command.gpus)) == ("reset_gpu", 8)


def test_what_an_agent_refuses_has_failed(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=0))
    case = opened(embedded, agent.node_id)
    carry_out(embedded, RepairNode(NodeId(agent.node_id), case.id, Remedy.REBOOT, (), "reboot"))
    (command,) = agent.commands()
    no = agent.observed(CommandDone, intent_id=command.intent_id, accepted=False, detail="no rights")
    agent.beat(no)
    (order,) = view(embedded).orders
    assert (order.passed, order.detail) == (False, "no rights")


def test_only_the_newest_sweep_of_a_node_is_kept(embedded: World) -> None:
    _, (agent,) = embedded.run()
    for _ in range(2):
        carry_out(embedded, RunTests(NodeId(agent.node_id), None, (0, 1), "idle since yesterday"))
    (order,) = view(embedded).orders
    assert (order.kind, order.incident_id, order.passed) == (SWEEP, None, None)
    assert [command.occasion for command in agent.commands()] == ["sweep", "sweep"]


def test_a_cordon_by_automation_counts_for_the_breaker_and_is_no_news_twice(embedded: World) -> None:
    _, (agent,) = embedded.run()
    cordon = CordonNode(NodeId(agent.node_id), "suspect")
    carry_out(embedded, cordon)
    carry_out(embedded, cordon)
    (cordoned,) = view(embedded).cordons
    assert (cordoned.node_id, cordoned.provider, cordoned.fabric_domain) == (agent.node_id, "cheap", "cheap/north")
    embedded.clock.advance(4_000.0)
    assert view(embedded).cordons == ()


def test_the_breaker_trips_once(embedded: World) -> None:
    carry_out(embedded, TripBreaker("too much at once"))
    tripped_at = view(embedded).tripped_at
    embedded.clock.advance(5.0)
    carry_out(embedded, TripBreaker("too much at once"))
    assert view(embedded).tripped_at == tripped_at == embedded.clock.now() - 5.0
    assert len(embedded.events("breaker.tripped")) == 1


def test_a_node_that_leaves_is_neither_repaired_nor_tested_any_more(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=0))
    case = opened(embedded, agent.node_id)
    carry_out(embedded, RepairNode(NodeId(agent.node_id), case.id, Remedy.REBOOT, (), "reboot"))
    nodes.terminate(embedded.context, agent.node_id, "token t")
    assert [intent.state for intent in embedded.intents(IntentKind.REPAIR_NODE, agent.node_id)] == ["cancelled"]


@pytest.mark.parametrize("how", ["cordoned", "faulty"])
def test_the_last_gate_lets_nothing_start_on_what_is_out_of_the_fleet(embedded: World, how: str) -> None:
    _, (agent,) = embedded.run(gpus="H100:1")
    node_id = NodeId(agent.node_id)
    if how == "cordoned":
        carry_out(embedded, CordonNode(node_id, "suspect"))
    else:
        carry_out(embedded, MarkHealth(f"GPU-{node_id}-5", node_id, Health.FAULTY, "lost"))
    waiting = embedded.submit("waiting", gpus="H100:1")
    start = StartAttempt(JobId(waiting), 1, (Slot(node_id, 0, (5,), ""),), 20_000, "test")
    with pytest.raises(InvariantBroken, match="may not be used"):
        carry_out(embedded, start)
