"""From a finding to the end: taken out, repaired, tested, and back, or on to the next rung."""

from dataclasses import replace
from typing import Any

from godwit.domain.health import Grade, IncidentState, Remedy
from godwit.domain.ids import FindingId, GpuUuid, JobId
from godwit.domain.jobs import JobState
from godwit.domain.nodes import Health, NodeState
from godwit.scheduler import plan, planner
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.plan import Evict, RepairNode
from godwit.scheduler.reasons import Code
from godwit.scheduler.snapshot import Policy, Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world
from tests.scheduler.health.care import Care, finding


def running(nodes: int = 10, gang: int = 2, **fields: Any) -> Snapshot:
    """A fleet of `nodes`, and a job on the first `gang` of them."""
    fleet = [node(f"n{number}") for number in range(nodes)]
    one = job("train", nodes=gang, state=JobState.RUNNING)
    kept = {"policy": Policy(idle_after_s=1e9)} | fields
    return world(nodes=fleet, jobs=[one], attempts=[attempt(one, *fleet[:gang])], **kept)


def test_a_lost_gpu_leaves_at_once_its_node_is_booted_tested_and_returns() -> None:
    care = Care(running(), NOW)
    care.hear(finding("1", "n0", "xid:79"))
    care.rest()
    assert [action.remedy for action in care.of(RepairNode)] == [Remedy.REBOOT]
    assert [action.gpus for action in care.of(plan.TestNode)] == [tuple(range(8))]
    assert [(action.job_id, action.saves) for action in care.of(Evict)] == [("train", False)]
    assert care.incident("1").state is IncidentState.CLOSED
    assert (care.node("n0").state, care.gpu("n0")) == (NodeState.READY, Health.HEALTHY)


def test_the_evicted_job_starts_again_while_its_node_is_out() -> None:
    care = Care(running(nodes=3), NOW, works=lambda _order: None)
    care.hear(finding("1", "n0", "xid:79"))
    care.rest()
    (again,) = care.snapshot.attempts
    assert {slot.node_id for slot in again.slots} == {"n1", "n2"}
    assert care.node("n0").state is NodeState.CORDONED


def test_a_reset_that_fails_becomes_a_reboot_and_that_another_machine() -> None:
    care = Care(running(), NOW, works=lambda order: order.remedy is Remedy.REBOOT, passes=lambda _order: False)
    care.hear(finding("1", "n0", "xid:119"))
    care.rest()
    assert [action.remedy for action in care.of(RepairNode)] == [Remedy.RESET_GPU, Remedy.REBOOT]
    assert "n0" not in care.snapshot.node_by_id
    assert care.incident("1").tried == (Remedy.RESET_GPU, Remedy.REBOOT)
    assert care.view.records["GPU-n0-0"].state is Health.FAULTY


def test_a_gpu_is_reset_while_the_others_of_its_node_work() -> None:
    fleet = [node("n0")]
    small = job("small", gpus=1, state=JobState.RUNNING)
    other = job("other", gpus=1, state=JobState.RUNNING)
    elsewhere = attempt(other, fleet[0])
    elsewhere = replace(elsewhere, slots=(replace(elsewhere.slots[0], gpus=(5,)),))
    care = Care(world(nodes=fleet, jobs=[small, other], attempts=[attempt(small, fleet[0]), elsewhere]), NOW)
    care.hear(finding("1", "n0", "xid:48"))
    care.rest()
    assert [action.job_id for action in care.of(Evict)] == ["small"]
    assert [(action.remedy, action.gpus) for action in care.of(RepairNode)] == [(Remedy.RESET_GPU, ("GPU-n0-0",))]
    assert care.node("n0").state is NodeState.READY
    assert elsewhere in care.snapshot.attempts


def test_a_warm_moment_that_is_over_before_anything_was_done_is_forgiven() -> None:
    care = Care(running(), NOW)
    hot = finding("1", "n0", "thermal:hot", check="thermal", grade=Grade.DEGRADED, suggested=Remedy.REBOOT)
    care.hear(hot)
    care.rest()
    assert care.gpu("n0") is Health.SUSPECT
    assert not care.of(Evict)
    care.pass_s(20)
    care.hear(replace(hot, id=FindingId("finding-2"), at=care.now, grade=Grade.HEALTHY, suggested=Remedy.NONE))
    care.rest()
    assert (care.gpu("n0"), care.incident("1").state) == (Health.HEALTHY, IncidentState.CLOSED)
    assert not care.of(RepairNode)


def test_a_pending_remap_waits_for_the_end_of_the_job_for_weeks() -> None:
    care = Care(running(), NOW)
    care.hear(finding("1", "n0", "row-remap:pending", check="row-remap", suggested=Remedy.DRAIN_AND_RESET))
    care.rest()
    care.pass_s(864_000)
    care.rest()
    assert not care.of(Evict)
    assert care.gpu("n0") is Health.SUSPECT
    care.end("train")
    care.rest()
    assert [action.remedy for action in care.of(RepairNode)] == [Remedy.RESET_GPU]
    assert not care.of(plan.TestNode)
    assert care.gpu("n0") is Health.HEALTHY


def test_links_that_fail_more_often_are_reset_within_a_day() -> None:
    care = Care(running(), NOW)
    care.hear(finding("1", "n0", "nvlink:retries", check="nvlink", suggested=Remedy.DRAIN_AND_RESET))
    care.rest()
    care.pass_s(86_000)
    care.rest()
    assert not care.of(Evict)
    care.pass_s(500)
    care.rest()
    assert [action.saves for action in care.of(Evict)] == [True]
    assert [action.remedy for action in care.of(RepairNode)] == [Remedy.RESET_GPU]


def test_a_hang_restarts_the_job_and_a_node_that_is_odd_for_the_second_time_is_tested() -> None:
    care = Care(running(nodes=2), NOW, passes=lambda _order: None)

    def hang(name: str, node: str, odd: str) -> None:
        (ran,) = care.snapshot.attempts
        evidence = {"odd": odd} if odd else {}
        ids: dict[str, Any] = {"attempt_id": ran.id, "job_id": ran.job_id}
        care.hear(finding(name, node, "hang", None, care.now, "hang", evidence=evidence, **ids))

    hang("1", "n0", "")
    hang("2", "n1", "rank 3")
    care.rest()
    assert [(one.job_id, one.saves) for one in care.of(Evict)] == [("train", False)]
    care.pass_s(3_600)
    hang("3", "n0", "rank 3")
    care.rest()
    assert len(care.of(Evict)) == 2
    assert all(one.state is NodeState.READY for one in care.snapshot.nodes)
    care.pass_s(3_600)
    hang("4", "n1", "rank 3")
    care.rest()
    assert care.node("n1").state is NodeState.CORDONED
    assert not care.snapshot.attempts


def test_a_crash_with_an_error_of_cuda_starts_again_once_and_on_another_node_it_is_the_program() -> None:
    care = Care(running(), NOW)

    def crash(name: str, node: str) -> None:
        (ran,) = care.snapshot.attempts
        care.hear(finding(name, node, "cuda:other", None, care.now, "crash", attempt_id=ran.id, job_id=ran.job_id))
        care.rest()

    crash("1", "n0")
    assert len(care.of(Evict)) == 1
    care.pass_s(600)
    crash("2", "n5")
    assert len(care.of(Evict)) == 1
    assert care.of(plan.DecideFinding)[-1].rule == "program"


def test_a_straggler_is_swapped_at_the_next_checkpoint() -> None:
    care = Care(running(), NOW, passes=lambda _order: None)
    (ran,) = care.snapshot.attempts
    care.hear(
        finding(
            "1", "n0", "straggler:3", 3, NOW, "straggler", attempt_id=ran.id, job_id=ran.job_id,
            grade=Grade.DEGRADED, evidence={"windows": 3},
        )
    )  # fmt: skip
    care.rest()
    assert not care.of(Evict)
    care.pass_s(60)
    care.save("train")
    care.rest()
    assert [action.saves for action in care.of(Evict)] == [True]
    assert care.gpu("n0", 3) is Health.QUARANTINED


def test_a_straggler_is_kept_while_no_other_node_is_idle() -> None:
    care = Care(running(nodes=2), NOW)
    (ran,) = care.snapshot.attempts
    care.hear(
        finding(
            "1", "n0", "straggler:3", 3, NOW, "straggler", attempt_id=ran.id, job_id=ran.job_id,
            evidence={"windows": 3},
        )
    )  # fmt: skip
    care.rest()
    care.pass_s(7_200)
    care.save("train")
    care.rest()
    assert not care.of(Evict)


def test_a_known_bad_gpu_that_comes_on_a_new_machine_is_refused() -> None:
    care = Care(running(), NOW, passes=lambda _order: False, works=lambda _order: False)
    care.hear(finding("1", "n9", "xid:79", 0))
    care.rest()
    assert "n9" not in care.snapshot.node_by_id
    again = node("fresh")
    gpus = (replace(again.gpus[0], uuid=GpuUuid("GPU-n9-0"), health=Health.FAULTY), *again.gpus[1:])
    care.join(replace(again, gpus=gpus))
    care.rest()
    assert "fresh" not in care.snapshot.node_by_id
    assert [one.blame for one in care.of(plan.TerminateNode)] == [False, True]


def test_a_machine_whose_network_failed_is_known_again_by_its_gpus() -> None:
    care = Care(running(), NOW)
    care.hear(finding("1", "n9", "port:down", None, check="port", suggested=Remedy.REPLACE_NODE))
    care.rest()
    assert "n9" not in care.snapshot.node_by_id
    assert {care.view.records[f"GPU-n9-{index}"].state for index in range(8)} == {Health.FAULTY}


def test_a_device_that_fails_again_within_days_is_replaced_and_not_repaired() -> None:
    care = Care(running(), NOW)
    for number, code in enumerate(("xid:48", "xid:95")):
        care.hear(finding(str(number), "n0", code, 0, care.now))
        care.rest()
        care.pass_s(3_600)
    assert len(care.of(RepairNode)) == 1
    assert "n0" not in care.snapshot.node_by_id


def test_three_nodes_of_one_fabric_with_the_same_trouble_have_one_cause_and_are_held() -> None:
    care = Care(running(nodes=40), NOW, works=lambda _order: None)
    for number in range(5):
        care.hear(finding(str(number), f"n{10 + number}", "sxid:20034", None, care.now))
        care.rest()
        care.pass_s(5)
    held = [one for one in care.view.incidents if one.state is IncidentState.HELD]
    assert {one.cause for one in held} == {"incident-0"}
    assert len(held) == 3
    assert care.view.tripped_at is None
    for one in held:
        over = finding(f"over-{one.id}", one.node_id, "sxid:20034", None, care.now, grade=Grade.HEALTHY)
        care.hear(over)
    care.rest()
    assert all(care.node(one.node_id).state is NodeState.READY for one in held)


def test_beyond_its_cap_the_breaker_trips_and_only_a_person_lets_go() -> None:
    care = Care(running(nodes=10, gang=1), NOW, works=lambda _order: None)
    for number, code in enumerate(("xid:79", "xid:119", "xid:48", "xid:95")):
        care.hear(finding(str(number), f"n{number + 3}", code, 0, care.now))
        care.rest()
        care.pass_s(1)
    assert [care.incident(str(number)).state for number in range(4)] == [
        IncidentState.REPAIRING, IncidentState.REPAIRING, IncidentState.HELD, IncidentState.HELD,
    ]  # fmt: skip
    assert len(care.of(plan.TripBreaker)) == 1
    care.pass_s(3_600)
    care.rest()
    assert care.incident("2").state is IncidentState.HELD
    care.reset_breaker()
    care.rest()
    assert care.incident("2").state is IncidentState.REPAIRING


def test_with_automation_off_everything_is_told_and_nothing_is_done() -> None:
    care = Care(running(policy=Policy(health=HealthPolicy(acts=False))), NOW)
    care.hear(finding("1", "n0", "xid:79"))
    care.rest()
    assert care.incident("1").state is IncidentState.HELD
    (ran,) = care.snapshot.attempts
    hang = finding("2", "n1", "hang", None, care.now, "hang", attempt_id=ran.id, job_id=ran.job_id)
    care.hear(hang)
    care.rest()
    assert not care.of(Evict)
    assert care.gpu("n0") is Health.HEALTHY


def test_an_idle_node_is_swept_now_and_then_where_that_is_wanted() -> None:
    care = Care(running(nodes=4, policy=Policy(health=HealthPolicy(sweep_every_s=86_400.0), idle_after_s=1e9)), NOW)
    care.rest()
    assert not care.of(plan.TestNode)
    care.pass_s(400)
    care.rest()
    assert sorted(one.node_id for one in care.of(plan.TestNode)) == ["n2", "n3"]
    care.pass_s(86_500)
    care.rest()
    assert len(care.of(plan.TestNode)) == 4


def test_a_machine_of_ones_own_is_never_given_back() -> None:
    own = node("n0", offer(price=0.0))
    care = Care(world(nodes=[own]), NOW, works=lambda _order: False)
    care.hear(finding("1", "n0", "xid:79"))
    care.rest()
    assert care.incident("1").state is IncidentState.ESCALATED
    assert care.node("n0").state is NodeState.CORDONED


def test_a_link_that_was_lost_shortly_before_a_crash_is_why() -> None:
    care = Care(running(), NOW, passes=lambda _order: None)
    (ran,) = care.snapshot.attempts
    lost = finding("1", "n1", "network-card:link-down", None, NOW, "network-card", grade=Grade.DEGRADED)
    care.hear(lost)
    care.rest()
    assert not care.of(Evict)
    care.pass_s(6)
    care.hear(finding("2", "n0", "nccl:watchdog", None, care.now, "crash", attempt_id=ran.id, job_id=ran.job_id))
    care.rest()
    assert care.node("n1").state is NodeState.CORDONED
    assert care.node("n0").state is NodeState.READY
    assert "n1" not in {slot.node_id for slot in care.snapshot.attempts[0].slots}


def test_a_crash_of_a_gang_names_no_node_and_ends_as_the_programs() -> None:
    care = Care(running(), NOW)

    def crash(name: str, code: str) -> None:
        (ran,) = care.snapshot.attempts
        care.hear(finding(name, "n0", code, None, care.now, "crash", attempt_id=ran.id, job_id=ran.job_id))
        care.rest()
        care.pass_s(60)

    for number in range(3):
        crash(str(number), "nccl:watchdog")
    assert len(care.of(Evict)) == 3
    crash("3", "nccl:watchdog")
    assert len(care.of(Evict)) == 3
    assert care.of(plan.DecideFinding)[-1].rule == "program"
    assert not care.of(plan.CordonNode)


def test_nothing_starts_on_what_is_held_with_others_and_what_passes_its_test_meanwhile_is_free() -> None:
    care = Care(running(nodes=40, gang=1), NOW, passes=lambda _order: None, works=lambda _order: None)
    for number in range(4):
        care.hear(finding(str(number), f"n{10 + number}", "xid:119", 0, care.now))
        care.rest()
        care.pass_s(1)
    held = [one for one in care.view.incidents if one.state is IncidentState.HELD]
    assert [one.node_id for one in held] == ["n12", "n13"]
    assert [one.node_id for one in care.of(plan.TestNode)] == ["n12", "n13"]
    made = planner.preview(care.snapshot, job("b", nodes=37), care.now, 1)
    unfit = [one.subject for one in made.refusals[JobId("b")] if one.code is Code.UNFIT]
    assert unfit == ["2 nodes of lambda/east/-/h100.8x/on-demand"] * 2
    care.answer("2", passed=True)
    care.rest()
    assert care.incident("2").state is IncidentState.CLOSED
    assert care.incident("3").state is IncidentState.HELD
    care.answer("3", passed=False)
    care.pass_s(1_900)
    care.rest()
    assert care.incident("3").state is IncidentState.REPAIRING


def test_a_loss_that_is_no_number_again_stops_the_job_and_tests_all_its_nodes() -> None:
    care = Care(running(), NOW, passes=lambda _order: None)
    spares = {f"n{number}" for number in range(10)}

    def spoilt(name: str, loss: str = "nan") -> None:
        (ran,) = care.snapshot.attempts
        head = ran.slots[0].node_id
        care.hear(
            finding(
                name, head, "loss:nan", None, care.now, "loss", attempt_id=ran.id, job_id=ran.job_id,
                grade=Grade.DEGRADED, evidence={"loss": loss},
            )
        )  # fmt: skip
        care.rest()
        care.pass_s(600)

    spoilt("0", "2.31")
    spoilt("1", "2.30")
    spoilt("2")
    assert not care.of(Evict)
    gang = {slot.node_id for slot in care.snapshot.attempts[0].slots}
    spoilt("3")
    assert [one.saves for one in care.of(Evict)] == [False]
    assert {one.node_id for one in care.of(plan.TestNode)} == gang
    assert not care.snapshot.attempts
    assert not care.of(plan.CordonNode)
    assert not care.of(plan.BuyNode)
    policy = replace(care.snapshot.policy, idle_after_s=1.0)
    given_back = planner.plan(replace(care.snapshot, policy=policy), care.now, 1).actions
    assert spares == care.snapshot.node_by_id.keys()
    assert not given_back, "its spare stays, though nothing runs that it would be a spare of"
    care.answer("3-1", passed=True)
    care.answer("3-2", passed=False)
    care.rest()
    assert {care.incident(name).state for name in ("3", "3-1")} == {IncidentState.CLOSED}
    assert care.incident("3-2").remedy is Remedy.RESET_GPU
    assert len(care.snapshot.attempts) == 1
    assert care.view.tripped_at is None
