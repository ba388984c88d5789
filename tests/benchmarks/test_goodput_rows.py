"""What the replay of failing fleets writes down and leaves out comes to the same as if it did not."""

from dataclasses import replace

from godwit.agents.checks.active.proven import PASSED_S, WORKED_S
from godwit.domain.health import Finding, Grade
from godwit.domain.ids import FindingId, NodeId
from godwit.domain.jobs import Outcome
from godwit.scheduler import planner
from godwit.scheduler.health import breaker
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.plan import StartAttempt

from benchmarks.goodput import caps
from benchmarks.goodput.machines import Machine
from benchmarks.goodput.planning import Planning
from benchmarks.goodput.proofs import Proofs
from benchmarks.goodput.rows import START_S, Rows
from benchmarks.goodput.scenario import Fleet

FLEET = Fleet("20 nodes", 20, 10, 2)


def running() -> Rows:
    """A fleet of two domains whose job runs on the first 20 of 22 nodes."""
    rows = Rows(FLEET, is_exact=False)
    rows.now = START_S
    for place in range(22):
        rows.joined(Machine(f"node-{place:02}", f"{place:02}", place, FLEET.domains[min(place, 19) // 10]))
    rows.submit()
    (start,) = [one for one in planner.plan(rows.snapshot(), rows.now, 1).actions if isinstance(one, StartAttempt)]
    rows.start(start, start.slots)
    rows.running()
    return rows


def test_the_breaker_counts_what_a_small_snapshot_leaves_out() -> None:
    rows = running()
    rows.node(rows.gang[3], detail="odd")
    left_out = Planning(rows, exact=False)._left_out()
    small = Planning(rows, exact=False)._without(left_out)
    assert len(small.nodes) + len(left_out) == len(rows.nodes) > len(small.nodes)
    sizes = [breaker.Budget(Casebook(one, rows.now))._sizes for one in (rows.snapshot(), small)]
    assert sizes[0] == sizes[1]


def test_a_job_that_starts_again_gets_back_what_was_left_out_of_its_plan() -> None:
    rows = running()
    gang = set(rows.gang)
    assert rows.settle(Outcome.EVICTED, "")
    rows.released(rows.gang)
    rows.attempt = None
    plan = Planning(rows, exact=False).plan(rows.now + 1)
    (start,) = [one for one in plan.actions if isinstance(one, StartAttempt)]
    assert {slot.node_id for slot in start.slots} == gang
    assert sorted(slot.rank for slot in start.slots) == list(range(20))


def test_who_told_of_something_lately_is_in_every_plan() -> None:
    rows = running()
    told = rows.gang[-1]
    rows.found(Finding(FindingId("1"), told, rows.now, "ports", Grade.UNHEALTHY, "", "port:down"))
    assert told not in Planning(rows, exact=False)._left_out()
    rows.decided(FindingId("1"))
    assert told not in Planning(rows, exact=False)._left_out()
    rows.now += 3_600
    assert told in Planning(rows, exact=False)._left_out()


def test_slots_of_nodes_that_were_freed_are_released_in_every_snapshot() -> None:
    rows = running()
    rows.released(rows.gang[:1])
    (attempt,) = rows.snapshot().attempts
    assert [slot.released for slot in attempt.slots] == [True, *[False] * 19]
    (attempt,) = rows.snapshot({rows.gang[1]}).attempts
    assert [slot.rank for slot in attempt.slots] == [0, *range(2, 20)]


def test_the_cap_counts_what_was_cordoned_and_is_given_back_on_both_sides() -> None:
    rows = running()
    first = [one for one in rows.nodes if rows.nodes[one].offer.fabric_domain == "pod-0"]
    for node_id in first[:2]:
        rows.cordon(node_id, lifted=False)
        rows.gone(node_id)
    assert rows.sizes == {"pod-0": 8, "pod-1": 12}
    assert not caps.exceeded(rows), "2 of the 10 that there were"
    rows.cordon(first[2], lifted=False)
    assert caps.exceeded(rows)
    rows.now += rows.policy.health.breaker_window_s + 1
    assert not caps.exceeded(rows)


def test_machines_that_worked_or_passed_lately_are_not_tried_before_a_start() -> None:
    proofs = Proofs()
    assert proofs.tries(["a", "b"], 0.0)
    assert not proofs.tries(["a", "b"], PASSED_S - 1)
    assert proofs.tries(["a"], PASSED_S)
    proofs.worked(["b"], 0.0, PASSED_S)
    assert not proofs.tries(["b"], PASSED_S + WORKED_S - 1)
    proofs.doubt("b", PASSED_S + 1)
    proofs.passed("b", PASSED_S, PASSED_S + 2)
    assert proofs.tries(["b"], PASSED_S + 3), "what was found meanwhile outlasts what was shown"
    proofs.passed("b", PASSED_S + 4, PASSED_S + 5)
    proofs.forget("b")
    assert proofs.tries(["b"], PASSED_S + 6)


def test_a_node_that_is_gone_leaves_nothing_behind() -> None:
    rows = running()
    rows.gone(NodeId("node-00"))
    attempt = rows.attempt
    assert attempt is not None
    assert NodeId("node-00") not in rows.gang
    assert "node-00" in {slot.node_id for slot in rows.snapshot().attempts[0].slots}
    assert replace(attempt, slots=()) == replace(rows.snapshot().attempts[0], slots=())
