"""From a finding to the end: taken out, repaired, tested, and back, or on to the next rung."""

from dataclasses import replace
from typing import Any

from godwit.domain.health import IncidentState, Remedy
from godwit.domain.jobs import JobState
from godwit.domain.nodes import Health, NodeState
from godwit.scheduler import plan
from godwit.scheduler.plan import Evict, RepairNode
from godwit.scheduler.snapshot import Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, world
from tests.scheduler.health.care import Care, finding


def running(nodes: int = 10, gang: int = 2, **fields: Any) -> Snapshot:
    """A fleet of `nodes`, and a job on the first `gang` of them."""
    fleet = [node(f"n{number}") for number in range(nodes)]
    one = job("train", nodes=gang, state=JobState.RUNNING)
    return world(nodes=fleet, jobs=[one], attempts=[attempt(one, *fleet[:gang])], **fields)


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
