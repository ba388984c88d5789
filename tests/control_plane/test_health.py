"""From a finding to a healthy fleet, with the real policy: what is done, and what is not done where nothing is due."""

from dataclasses import replace

import pytest
from godwit.control_plane.services import breaker
from godwit.control_plane.store import health as remembered
from godwit.domain.health import IncidentState
from godwit.domain.nodes import Health
from godwit.domain.wire.health import ChecksDone, RepairDone
from godwit.scheduler.health.policy import HealthPolicy

from tests.control_plane.caring import timeline, view
from tests.control_plane.world import Agent, World

LOST = {"line": "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."}


def pass_time(world: World, seconds: float = 1.0) -> None:
    """Time passes, and every agent that is wanted is heard."""
    world.clock.advance(seconds)
    for agent in world.agents:
        if world.node(agent.node_id).state not in {"terminating", "terminated"}:
            agent.beat()
    world.plan()


def obey(world: World, agent: Agent, *, passes: bool = True) -> list[str]:
    """Carry out what the agent is told, well or badly, and answer; returns what it was."""
    done = []
    for command in agent.take_on():
        if command.type == "repair-node":
            agent.beat(agent.observed(RepairDone, intent_id=command.intent_id, worked=True))
            done.append(str(command.remedy))
        elif command.type == "run-checks":
            agent.beat(agent.observed(ChecksDone, intent_id=command.intent_id, passed=passes))
            done.append(str(command.occasion))
        else:
            done.append(command.type)
    world.plan()
    return done


def states(world: World) -> list[str]:
    return [str(one.state) for one in view(world).incidents]


def test_a_lost_gpu_is_out_at_once_and_its_job_goes_on_elsewhere(world: World) -> None:
    job_id, (agent,) = world.run()
    agent.beat(agent.found("xid:79", gpu=3, evidence=LOST))
    world.plan()
    gpu = next(gpu for gpu in world.node(agent.node_id).gpus if gpu.index == 3)
    assert (gpu.health, world.node(agent.node_id).state) == (Health.FAULTY, "cordoned")
    assert (world.attempt(job_id).outcome, world.job(job_id).interruptions) == ("evicted", 0)
    (stop,) = agent.commands()
    assert (stop.type, stop.grace_s) == ("stop-attempt", 0.0)
    assert obey(world, agent) == ["stop-attempt"]
    (other,) = world.boot()
    other.take_on()
    assert other.node_id != agent.node_id
    assert (world.job(job_id).state, world.attempt(job_id).epoch) == ("running", 2)
    assert obey(world, agent) == ["reboot"]
    assert obey(world, agent) == ["return"]
    assert (states(world), world.node(agent.node_id).state) == ([], "ready")
    assert {gpu.health for gpu in world.node(agent.node_id).gpus} == {Health.HEALTHY}
    (over,) = view(world).past
    told = [event.kind.removeprefix("incident.") for event in timeline(world, over.id)]
    assert {"symptom", "decision", "eviction", "restart", "repair", "repaired", "test", "tested"} <= set(told)


@pytest.mark.parametrize("code", ["xid:13", "xid:43", "xid:45"])
def test_the_programs_own_mistakes_cost_no_gpu_and_no_eviction(embedded: World, code: str) -> None:
    job_id, (agent,) = embedded.run()
    agent.beat(agent.found(code, gpu=0))
    embedded.plan()
    assert embedded.job(job_id).state == "running"
    assert (states(embedded), embedded.node(agent.node_id).state) == ([], "ready")
    (decided,) = embedded.events("node.finding-decided")
    assert decided.data["rule"] in {"table", "combination"}
    assert agent.commands() == []


def test_what_a_check_finds_merely_worse_ends_nothing(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    agent.beat(agent.found("clocks:hw-thermal", gpu=0, check="clocks", grade="degraded", reason="too hot"))
    embedded.plan()
    assert (embedded.job(job_id).state, embedded.node(agent.node_id).state) == ("running", "ready")


def test_a_reset_of_one_gpu_leaves_the_others_of_its_node_at_work(embedded: World) -> None:
    first, (agent,) = embedded.run("first", gpus="H100:4")
    second = embedded.submit("second", gpus="H100:4")
    embedded.plan()
    agent.take_on()
    gpu = embedded.attempt(first).head.gpus[0]
    agent.beat(agent.found("xid:48", gpu=gpu))
    embedded.plan()
    assert (embedded.job(first).state, embedded.job(second).state) == ("recovering", "running")
    assert embedded.node(agent.node_id).state == "ready"


def test_a_machine_whose_repair_fails_goes_and_its_devices_are_known_when_they_come_back(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=3, evidence=LOST))
    embedded.plan()
    obey(embedded, agent)
    assert obey(embedded, agent) == ["reboot"]
    assert obey(embedded, agent, passes=False) == ["return"]
    assert embedded.node(agent.node_id).state == "terminating"
    assert view(embedded).incidents == ()
    with embedded.db.read() as conn:
        assert remembered.records(conn, [f"GPU-{agent.node_id}-3"])[f"GPU-{agent.node_id}-3"].state in {
            Health.FAULTY, Health.RETIRED,
        }  # fmt: skip


def test_a_node_that_boots_anew_for_its_repair_is_waited_for_and_stays_cordoned(embedded: World) -> None:
    _, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=3, evidence=LOST))
    embedded.plan()
    obey(embedded, agent)
    (reboot,) = agent.take_on()
    embedded.clock.advance(120.0)
    embedded.plan()
    assert embedded.node(agent.node_id).state in {"lost", "cordoned"}
    agent.beat(agent.observed(RepairDone, intent_id=reboot.intent_id, worked=True))
    assert embedded.node(agent.node_id).state == "cordoned"
    embedded.plan()
    assert obey(embedded, agent) == ["return"]
    assert embedded.node(agent.node_id).state == "ready"


def test_with_acts_off_everything_is_told_and_nothing_is_done(embedded: World) -> None:
    embedded.context = replace(
        embedded.context, policy=replace(embedded.context.policy, health=HealthPolicy(acts=False))
    )
    job_id, (agent,) = embedded.run()
    agent.beat(agent.found("xid:79", gpu=3, evidence=LOST))
    embedded.plan()
    assert (embedded.job(job_id).state, states(embedded)) == ("running", ["held"])


def test_the_breaker_holds_what_would_empty_the_fleet_until_a_person_resets_it(embedded: World) -> None:
    gang = [embedded.run(f"job-{number}")[1][0] for number in range(4)]
    for agent in gang:
        agent.beat(agent.found("xid:79", gpu=0, evidence=LOST))
        embedded.clock.advance(0.1)
    embedded.plan()
    cordoned = [node.id for node in embedded.nodes() if node.state == "cordoned"]
    assert len(cordoned) == 1
    assert sorted(set(states(embedded))) == ["held", "open"]
    breaker.reset(embedded.context, "token t")
    assert IncidentState.HELD in {one.state for one in view(embedded).incidents}


def test_a_program_that_fails_on_a_sick_gpu_is_excused_and_goes_on_elsewhere(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    attempt_id = embedded.attempt(job_id).id
    agent.beat(
        agent.found("xid:79", gpu=3, evidence=LOST), agent.stopped(attempt_id, 1, "failed", exit_code=1, detail="CUDA")
    )
    embedded.plan()
    assert embedded.attempt(job_id).outcome in {"interrupted", "evicted"}
    assert embedded.job(job_id).state == "recovering"


def test_a_program_that_fails_by_its_own_mistake_has_failed_whatever_the_driver_says_of_it(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    attempt_id = embedded.attempt(job_id).id
    agent.beat(agent.found("xid:13", gpu=3), agent.stopped(attempt_id, 1, "failed", exit_code=1))
    pass_time(embedded)
    pass_time(embedded)
    assert (embedded.job(job_id).state, embedded.job(job_id).exit_code) == ("failed", 1)
