"""Nodes that lost their link, and losses that are no number: what waits, what starts again, and what is left alone."""

from dataclasses import replace

from godwit.domain.health import Finding, Grade, Incident, IncidentState, Remedy
from godwit.domain.ids import IncidentId, JobId, NodeId
from godwit.domain.jobs import JobState
from godwit.scheduler import plan, planner
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.health.view import HealthView
from godwit.scheduler.plan import Evict, StartAttempt
from godwit.scheduler.snapshot import Policy, Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, world
from tests.scheduler.health.care import Care, finding

DOWN, UP = "network-card:link-down", "port:down"


def said(name: str, code: str, at: float, grade: Grade = Grade.DEGRADED) -> Finding:
    """What n1 says of its way to the others, decided already."""
    check = "ports" if code.startswith("port") else "network-card"
    return replace(finding(name, "n1", code, None, at, check, grade=grade), decided=True)


def places(now: float, *found: Finding) -> list[str]:
    """Where a job starts on the one node that there is."""
    heard = node("n1", last_seen_at=now)
    made = planner.plan(world(jobs=[job("a")], nodes=[heard], health=HealthView(findings=found)), now, 1)
    return [one.slots[0].node_id for one in made.actions if isinstance(one, StartAttempt)]


def test_nothing_starts_on_a_node_that_just_lost_its_link_until_that_was_time_to_be_judged() -> None:
    lost, patience_s = said("1", DOWN, NOW), HealthPolicy().unsettled_s
    assert places(NOW + 1) == ["n1"]
    assert places(NOW + 1, lost) == []
    assert places(NOW + patience_s, lost) == ["n1"]
    waiting = world(jobs=[job("a")], nodes=[node("n1")], health=HealthView(findings=(lost,)))
    wake_at = planner.plan(waiting, NOW + 1, 1).wake_at
    assert wake_at is not None
    assert wake_at <= NOW + patience_s


def test_work_starts_again_as_soon_as_the_port_is_up() -> None:
    assert places(NOW + 2, said("1", DOWN, NOW), said("2", UP, NOW + 1, Grade.HEALTHY)) == ["n1"]
    assert places(NOW + 2, said("1", UP, NOW, Grade.HEALTHY), said("2", DOWN, NOW + 1)) == []


def test_trouble_of_another_kind_bars_nobody() -> None:
    assert places(NOW + 1, said("1", "port:noise", NOW)) == ["n1"]
    assert places(NOW + 1, replace(said("1", "row-remap:pending", NOW), check="row-remap")) == ["n1"]


def test_a_burst_of_lost_links_is_over_when_the_ports_are_up_whatever_named_it_first() -> None:
    held = Incident(
        IncidentId("incident-9"), NodeId("n1"), "lambda", IncidentState.HELD, NOW, NOW, "network-card", DOWN, "crash",
        "", Remedy.NONE, cause=IncidentId("incident-8"),
    )  # fmt: skip
    care = Care(world(nodes=[node("n1")], policy=Policy(idle_after_s=1e9)), NOW, passes=lambda _order: None)
    care.snapshot = replace(care.snapshot, health=HealthView(incidents=(held,)))
    care.rest()
    assert care.incident("9").state is IncidentState.HELD
    care.pass_s(60)
    care.hear(finding("10", "n1", UP, None, care.now, "ports", grade=Grade.HEALTHY))
    care.rest()
    assert care.incident("9").state is IncidentState.CLOSED


def running() -> Snapshot:
    """A job on two of four nodes."""
    fleet = [node(f"n{number}") for number in range(4)]
    one = job("train", nodes=2, state=JobState.RUNNING)
    return world(nodes=fleet, jobs=[one], attempts=[attempt(one, *fleet[:2])], policy=Policy(idle_after_s=1e9))


def spoil(care: Care, name: str) -> None:
    """The present attempt's loss stays no number; what its first one was is not of interest."""
    (ran,) = care.snapshot.attempts
    care.hear(
        finding(
            name, ran.slots[0].node_id, "loss:nan", None, care.now, "loss", attempt_id=ran.id, job_id=ran.job_id,
            grade=Grade.UNHEALTHY, suggested=Remedy.RESTART_JOB, evidence={"loss": "nan"},
        )
    )  # fmt: skip
    care.rest()
    care.pass_s(600)
    care.rest()


def test_a_loss_that_stays_no_number_starts_the_job_again_without_saving_what_it_computed() -> None:
    care = Care(running(), NOW)
    spoil(care, "1")
    assert [one.saves for one in care.of(Evict)] == [False]
    assert care.incident("1").remedy is Remedy.RESTART_JOB
    assert not care.of(plan.TestNode)
    assert len(care.snapshot.attempts) == 1


def test_a_large_job_whose_loss_stays_no_number_is_tested_at_once_twice_a_day_and_then_starts_again() -> None:
    care = Care(running(), NOW)
    policy = replace(care.snapshot.policy, health=HealthPolicy(gang_test_nodes=2))
    care.snapshot = replace(care.snapshot, policy=policy)
    for number, tested in enumerate((2, 4, 4)):
        spoil(care, str(number))
        assert len(care.of(plan.TestNode)) == tested
        assert len(care.of(Evict)) == number + 1
        assert len(care.snapshot.attempts) == 1


def test_a_program_that_comes_to_no_number_each_time_is_left_to_its_own_end_after_three_restarts() -> None:
    care = Care(running(), NOW)
    for number in range(5):
        spoil(care, str(number))
    assert len(care.of(Evict)) == 3


def test_a_program_that_was_submitted_anew_is_known_by_its_head_and_tests_of_nodes_are_no_restarts() -> None:
    restart = Incident(
        IncidentId("incident-7"), NodeId("n0"), "lambda", IncidentState.CLOSED, NOW - 900, NOW - 800, "loss",
        "loss:nan", "loss", "", Remedy.RESTART_JOB, job_ids=(JobId("its-first-id"),),
    )  # fmt: skip
    before = tuple(replace(restart, id=IncidentId(f"incident-7{number}")) for number in range(3))
    tests = tuple(replace(one, remedy=Remedy.NONE, cause=restart.id, job_ids=(JobId("train"),)) for one in before)
    for past, restarts in ((before, 0), (before[:2] + tests, 1)):
        care = Care(running(), NOW)
        (ran,) = care.snapshot.attempts
        care.snapshot = replace(
            care.snapshot, attempts=(replace(ran, created_at=NOW - 10),), health=HealthView(past=past)
        )
        spoil(care, "1")
        assert len(care.of(Evict)) == restarts


def test_a_test_of_all_nodes_of_a_job_is_no_rung_of_what_one_of_them_fails_by_later() -> None:
    passed = Incident(
        IncidentId("incident-8-1"), NodeId("n1"), "lambda", IncidentState.CLOSED, NOW - 900, NOW - 300, "loss",
        "loss:nan", "loss", "", Remedy.NONE, cause=IncidentId("incident-8"),
    )  # fmt: skip
    for past, remedy in (((passed,), Remedy.NONE), ((replace(passed, cause=None),), Remedy.RESET_GPU)):
        care = Care(world(nodes=[node("n1"), node("n2")]), NOW, passes=lambda _order: None, works=lambda _order: None)
        care.snapshot = replace(care.snapshot, health=HealthView(past=past))
        care.hear(finding("1", "n1", "matmul:failed", None, NOW, "matmul"))
        care.rest()
        assert care.incident("1").remedy is remedy
