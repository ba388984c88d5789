"""What ends by itself: waits that are bounded, questions about machines that are gone, and breakers of small places."""

from dataclasses import replace

from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import IncidentId, NodeId
from godwit.domain.jobs import JobState
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.health.view import HealthView
from godwit.scheduler.plan import Evict, TripBreaker
from godwit.scheduler.snapshot import Policy

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world
from tests.scheduler.health.care import Care, finding

KEPT = Policy(idle_after_s=1e9)


def test_a_pending_reset_ends_even_a_job_that_never_ends_once_and_its_work_is_saved() -> None:
    fleet = [node("n0"), node("n1")]
    one = job("train", state=JobState.RUNNING)
    care = Care(world(nodes=fleet, jobs=[one], attempts=[attempt(one, fleet[0])], policy=KEPT), NOW)
    care.hear(finding("1", "n0", "row-remap:pending", check="row-remap", suggested=Remedy.DRAIN_AND_RESET))
    care.rest()
    care.pass_s(HealthPolicy().pending_s)
    care.rest()
    assert [action.saves for action in care.of(Evict)] == [True]
    assert care.incident("1").state is IncidentState.CLOSED


def test_a_question_about_a_machine_that_is_gone_is_closed() -> None:
    asked = Incident(
        IncidentId("incident-1"), NodeId("n9"), "lambda", IncidentState.ESCALATED, NOW, NOW, "xid", "xid:154", "table",
        "", Remedy.NONE,
    )  # fmt: skip
    care = Care(world(nodes=[node("n0")], policy=KEPT), NOW)
    care.snapshot = replace(care.snapshot, health=HealthView(incidents=(asked,)))
    care.rest()
    assert care.incident("1").state is IncidentState.CLOSED


def test_two_that_fail_at_once_in_a_place_of_four_go_one_after_the_other_and_stop_nothing_else() -> None:
    small = [node(f"s{number}", offer(fabric_domain="small")) for number in range(4)]
    large = [node(f"l{number:02}", offer(fabric_domain="large")) for number in range(40)]
    care = Care(world(nodes=[*small, *large], policy=KEPT), NOW, works=lambda _order: None)
    for number, code in enumerate(("xid:79", "xid:119")):
        care.hear(finding(str(number), f"s{number}", code, 0, care.now))
        care.rest()
        care.pass_s(1)
    assert [care.incident(name).state for name in "01"] == [IncidentState.REPAIRING, IncidentState.HELD]
    assert not care.of(TripBreaker)
    care.pass_s(HealthPolicy().breaker_window_s)
    care.rest()
    assert care.incident("1").state is IncidentState.REPAIRING


def test_more_than_half_of_a_small_place_still_calls_a_person() -> None:
    small = [node(f"s{number}", offer(fabric_domain="small")) for number in range(4)]
    large = [node(f"l{number:02}", offer(fabric_domain="large")) for number in range(40)]
    care = Care(world(nodes=[*small, *large], policy=KEPT), NOW, works=lambda _order: None)
    for number, code in enumerate(("xid:79", "xid:119", "xid:95")):
        care.hear(finding(str(number), f"s{number}", code, 0, care.now))
        care.rest()
        care.pass_s(HealthPolicy().breaker_window_s + 1)
        care.rest()
    assert len(care.of(TripBreaker)) == 1
