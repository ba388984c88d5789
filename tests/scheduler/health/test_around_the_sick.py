"""What the rest of the planner makes of sick hardware: whose fault a failure is, who is lost, and where work goes."""

from dataclasses import replace

from godwit.domain.health import Grade, Incident, IncidentState, Remedy
from godwit.domain.ids import FindingId, GpuUuid, IncidentId, JobId, NodeId
from godwit.domain.jobs import Fabric, JobState, Outcome
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler import planner
from godwit.scheduler.health import findings
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.health.verdicts import Rule
from godwit.scheduler.health.view import HealthView
from godwit.scheduler.plan import EndAttempt, MarkNodeLost, StartAttempt
from godwit.scheduler.reasons import Code
from godwit.scheduler.snapshot import Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world
from tests.scheduler.health.care import finding


def incident(on: str, state: IncidentState = IncidentState.REPAIRING, remedy: Remedy = Remedy.REBOOT) -> Incident:
    """One that began just now, about the first GPU of a node."""
    return Incident(
        IncidentId(f"incident-{on}"), NodeId(on), "lambda", state, NOW, NOW, "xid", "xid:79", "table", "", remedy,
        gpus=(GpuUuid(f"GPU-{on}-0"),),
    )  # fmt: skip


def with_gpus(one: Node, health: Health, *indexes: int) -> Node:
    """The node with these GPUs believed to be so."""
    gpus = (replace(gpu, health=health if gpu.index in indexes else gpu.health) for gpu in one.gpus)
    return replace(one, gpus=tuple(gpus))


def outcome_of(failed: bool, *incidents: Incident) -> Outcome:
    """How an attempt on n1 comes out whose program failed at once."""
    one, first = job("a", state=JobState.RUNNING), node("n1", last_seen_at=NOW + 0.5)
    ran = attempt(one, first, failed_at=NOW if failed else None, exit_code=1)
    made = planner.plan(world(jobs=[one], nodes=[first], attempts=[ran], health=HealthView(past=incidents)), NOW + 1, 1)
    return next(action.outcome for action in made.actions if isinstance(action, EndAttempt))


def test_a_program_that_fails_on_sick_hardware_is_interrupted_and_not_failed() -> None:
    assert outcome_of(True) is Outcome.FAILED
    assert outcome_of(True, incident("n1", IncidentState.CLOSED)) is Outcome.INTERRUPTED


def test_trouble_on_other_nodes_or_of_long_ago_excuses_no_program() -> None:
    assert outcome_of(True, incident("n2", IncidentState.CLOSED)) is Outcome.FAILED
    old = replace(incident("n1", IncidentState.CLOSED), opened_at=NOW - 601)
    assert outcome_of(True, old) is Outcome.FAILED


def test_a_node_that_boots_because_it_was_told_to_is_not_lost() -> None:
    away = node("n1", state=NodeState.CORDONED, last_seen_at=NOW - 300, idle_since=None)
    silent = world(nodes=[away])
    assert any(isinstance(action, MarkNodeLost) for action in planner.plan(silent, NOW, 1).actions)
    boots = incident("n1")
    told = replace(silent, health=HealthView(incidents=(replace(boots, state_since=NOW - 300),)))
    assert not any(isinstance(action, MarkNodeLost) for action in planner.plan(told, NOW, 1).actions)


def test_a_doubtful_node_is_the_last_choice_and_still_one() -> None:
    held = HealthView(incidents=(incident("n1", IncidentState.HELD),), tripped_at=NOW)
    for fleet, place in (([node("n1"), node("n2")], "n2"), ([node("n0"), node("n1")], "n0"), ([node("n1")], "n1")):
        assert _place(world(jobs=[job("a")], nodes=fleet, health=held)) == place


def test_a_node_that_heat_slows_down_is_the_last_choice_until_that_is_over() -> None:
    both = [node("n1"), node("n2")]
    for slow, other in (("n1", "n2"), ("n2", "n1")):
        hot = finding("1", slow, "temperature:slowdown", at=NOW - 60, grade=Grade.DEGRADED, decided=True)
        over = replace(hot, id=FindingId("2"), grade=Grade.HEALTHY, at=NOW - 30)
        assert _place(world(jobs=[job("a")], nodes=both, health=HealthView(findings=(hot,)))) == other
        unhurt = _place(world(jobs=[job("a")], nodes=both))
        assert _place(world(jobs=[job("a")], nodes=both, health=HealthView(findings=(hot, over)))) == unhurt


def test_a_gang_rather_stands_in_a_larger_domain_or_farther_apart_than_on_a_node_that_heat_slows_down() -> None:
    """Domain f1 would hold it just so, with the hot node; f2 has one more, and without it nothing holds it alone."""
    hot = finding("1", "n1", "temperature:slowdown", at=NOW - 60, grade=Grade.DEGRADED, decided=True)
    near = [node("n1"), node("n2")]
    far = [node(f"n{number}", offer(fabric_domain="f2")) for number in (3, 4, 5)]
    gang = job("a", nodes=2, fabric=Fabric.ANY)
    for fleet, places in (
        ([*near, *far], {"n3", "n4", "n5"}), ([*near, far[0]], {"n2", "n3"}), (near, {"n1", "n2"}),
    ):  # fmt: skip
        made = planner.plan(world(jobs=[gang], nodes=fleet, health=HealthView(findings=(hot,))), NOW, 1)
        (start,) = (one for one in made.actions if isinstance(one, StartAttempt))
        assert {slot.node_id for slot in start.slots} <= places


def _place(snapshot: Snapshot) -> str:
    (start,) = (one for one in planner.plan(snapshot, NOW, 1).actions if isinstance(one, StartAttempt))
    return start.slots[0].node_id


def test_no_work_starts_on_a_gpu_that_is_not_healthy_and_the_refusal_says_so() -> None:
    for health in set(Health) - {Health.HEALTHY}:
        made = planner.plan(world(jobs=[job("a")], nodes=[with_gpus(node("n1"), health, 3)]), NOW, 1)
        assert made.actions == ()
        (told,) = (one for one in made.refusals[JobId("a")] if one.code is Code.UNFIT)
        assert told.message == "7 of 8 GPUs are healthy, 8 asked"


def test_the_gpus_beside_a_sick_one_still_take_work() -> None:
    made = planner.plan(world(jobs=[job("a", gpus=4)], nodes=[with_gpus(node("n1"), Health.FAULTY, 0)]), NOW, 1)
    (start,) = made.actions
    assert isinstance(start, StartAttempt)
    assert 0 not in start.slots[0].gpus


def test_a_slow_rank_is_not_explained_by_what_is_wrong_with_another_node() -> None:
    fleet = [node("n0"), node("n1")]
    one = job("train", nodes=2, state=JobState.RUNNING)
    ran = attempt(one, *fleet)
    slow = finding("1", "n0", "straggler:3", 3, NOW, "straggler", attempt_id=ran.id, evidence={"windows": 3})
    for broken, rule in (("n1", Rule.STRAGGLER), ("n0", Rule.ABSORBED)):
        health = HealthView(findings=(slow,), incidents=(incident(broken),))
        book = Casebook(world(nodes=fleet, jobs=[one], attempts=[ran], health=health), NOW)
        assert findings.verdict_of(slow, book).rule == rule
