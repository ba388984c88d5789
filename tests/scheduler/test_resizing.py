"""Running jobs get nodes and give some back: who, how many, when; and who goes on without a node that was lost."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.elasticity import Bends
from godwit.domain.health import Remedy
from godwit.domain.ids import MigrationId
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState, Outcome, Slot
from godwit.domain.migrations import Migration, MigrationState
from godwit.domain.nodes import Node, NodeState
from godwit.scheduler import planner
from godwit.scheduler.plan import (
    Action,
    BuyNode,
    EndAttempt,
    Evict,
    GrowAttempt,
    ReleaseSlot,
    ReserveNode,
    ShrinkAttempt,
    StartAttempt,
    TerminateNode,
)
from godwit.scheduler.resizing import bending, steps, targets
from godwit.scheduler.snapshot import Policy, Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world
from tests.scheduler.health import care

N1, N2, N3, N4 = (node(f"n{number}", idle_since=None) for number in range(1, 5))
LATER = NOW + Policy().resizing.settle_s


def bends(elastic: Bends = Bends.IN_PLACE, low: int = 1, high: int = 4, **fields: Any) -> Job:
    given: dict[str, Any] = {"state": JobState.RUNNING, "epoch": 1} | fields
    made = job("a", nodes_min=low, nodes_max=high, **given)
    return replace(made, spec=replace(made.spec, elastic=elastic))


def running(of: Job, *nodes: Node, spare: tuple[Node, ...] = (), **fields: Any) -> Snapshot:
    """A job that runs on these nodes and saved just now; `spare` nodes are free."""
    its = {key: fields.pop(key) for key in list(fields) if key in Attempt.__dataclass_fields__}
    one = attempt(of, *nodes, **its)
    given: dict[str, Any] = {"saved_at": {of.id: NOW - 1}} | fields
    return world(jobs=[of], nodes=[*nodes, *spare], attempts=[one], **given)


def heard(snapshot: Snapshot, at: float) -> Snapshot:
    """The same later, every node heard and the job saved just then."""
    nodes = tuple(replace(one, last_seen_at=at - 0.5, lease_until=at + 14.5) for one in snapshot.nodes)
    return replace(snapshot, nodes=nodes, saved_at=dict.fromkeys(snapshot.saved_at, at - 1))


def actions(snapshot: Snapshot, now: float = NOW) -> list[Action]:
    return list(planner.plan(snapshot, now, seed=1).actions)


def lost(of: Node) -> Node:
    return replace(of, gone=True, state=NodeState.TERMINATING)


def test_an_attempt_that_bends_in_place_goes_on_without_a_lost_node() -> None:
    (shrink,) = actions(running(bends(), N1, N2, lost(N3)))
    assert isinstance(shrink, ShrinkAttempt)
    assert shrink.node_ids == ("n3",)
    assert "does not run" in shrink.reason


@pytest.mark.parametrize(
    ("of", "nodes"),
    [
        (bends(), (lost(N1), N2)),  # the head
        (bends(low=2), (N1, lost(N2))),  # fewer than it needs
        (bends(Bends.RESTART), (N1, lost(N2))),  # a plain command
        (bends(cancel_requested=True), (N1, lost(N2))),
    ],
)
def test_without_its_head_or_below_its_least_or_when_it_does_not_bend_the_attempt_is_over(
    of: Job, nodes: tuple[Node, ...]
) -> None:
    (end,) = actions(running(of, *nodes))
    assert isinstance(end, EndAttempt)


def test_a_lost_node_keeps_its_part_until_that_is_certain_and_then_it_is_given_away() -> None:
    leaving = Slot(N2.id, 1, tuple(range(8)), "127.0.0.9", leaving=True)
    one = attempt(bends(), N1)
    silent = replace(N2, state=NodeState.LOST, state_since=NOW - 5, last_seen_at=NOW - 10, lease_until=NOW + 5)
    snapshot = running(bends(state=JobState.RESIZING), N1, spare=(silent,))
    snapshot = replace(snapshot, attempts=(replace(one, slots=(*one.slots, leaving), resized_at=NOW - 1),))
    assert actions(snapshot) == []
    expired = replace(snapshot, nodes=(N1, replace(silent, lease_until=NOW - 4)))
    (release,) = actions(expired)
    assert isinstance(release, ReleaseSlot)
    assert release.node_id == "n2"


def test_a_node_that_does_not_stop_its_part_is_ended() -> None:
    leaving = Slot(N2.id, 1, tuple(range(8)), "127.0.0.9", leaving=True)
    one = attempt(bends(), N1)
    snapshot = running(bends(state=JobState.RESIZING), N1, spare=(N2,))
    snapshot = replace(snapshot, attempts=(replace(one, slots=(*one.slots, leaving), resized_at=NOW - 61),))
    (end,) = actions(snapshot)
    assert isinstance(end, TerminateNode)
    assert end.node_id == "n2"


def test_a_node_that_does_not_join_in_time_is_given_back() -> None:
    one = attempt(bends(), N1, N2)
    joining = replace(one.slots[1], joining=True, since=NOW - 601)
    snapshot = running(bends(state=JobState.RESIZING, state_since=NOW - 601), N1, N2)
    snapshot = replace(snapshot, attempts=(replace(one, slots=(one.slots[0], joining), resized_at=NOW - 601),))
    (shrink,) = actions(snapshot)
    assert isinstance(shrink, ShrinkAttempt)
    assert "did not join" in shrink.reason


def test_a_program_that_fails_when_it_has_just_lost_a_node_is_not_to_blame() -> None:
    gone = Slot(N2.id, 1, (0,), "127.0.0.9", released=True, leaving=True, until=NOW - 20)
    (end,) = actions(running(bends(), N1, left=(gone,), resized_at=NOW - 20, failed_at=NOW - 5))
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.INTERRUPTED
    (end,) = actions(running(bends(), N1, left=(gone,), resized_at=NOW - 200, failed_at=NOW - 5))
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.FAILED


def test_a_wish_is_given_free_nodes_at_once_and_new_ranks() -> None:
    (grow,) = actions(running(bends(nodes_wanted=3), N1, spare=(node("n2"), node("n3"), node("n4"))))
    assert isinstance(grow, GrowAttempt)
    assert [slot.rank for slot in grow.slots] == [1, 2]
    assert all(slot.joining and slot.since == NOW for slot in grow.slots)
    assert "owner wants 3" in grow.reason


def test_a_wish_buys_what_is_not_there_beside_the_nodes_that_it_has_and_waits_for_all_of_it() -> None:
    far, near = offer("far", price=1.0, fabric_domain="f2"), offer("near", price=9.0)
    snapshot = running(bends(nodes_wanted=3), N1, spare=(node("n2"),), offers=[far, near])
    bought, kept = actions(snapshot)
    assert isinstance(kept, ReserveNode)
    assert (kept.node_id, kept.job_id) == ("n2", "a")
    assert isinstance(bought, BuyNode)
    assert (bought.offer.instance_type, bought.job_id) == ("near", "a")
    coming = node("n3", near, NodeState.PROVISIONING, reserved_for=bends().id, gpus=(), idle_since=None)
    gathered = running(bends(nodes_wanted=3), N1, spare=(node("n2", reserved_for=bends().id), coming), offers=[near])
    assert actions(gathered) == []
    there = replace(gathered, nodes=(*gathered.nodes[:2], node("n3", reserved_for=bends().id)))
    (grow,) = actions(there)
    assert isinstance(grow, GrowAttempt)
    assert sorted(slot.node_id for slot in grow.slots) == ["n2", "n3"]


def test_a_node_that_left_an_attempt_never_comes_back_to_it() -> None:
    gone = Slot(N2.id, 1, (0,), "127.0.0.9", released=True, leaving=True, since=NOW - 300, until=NOW - 200)
    snapshot = running(bends(nodes_wanted=2), N1, spare=(node("n2"),), left=(gone,))
    assert not any(isinstance(action, GrowAttempt) for action in actions(snapshot))


def test_a_smaller_wish_gives_back_who_came_last_and_never_the_head() -> None:
    (shrink,) = actions(running(bends(nodes_wanted=1), N1, N2, N3))
    assert isinstance(shrink, ShrinkAttempt)
    assert shrink.node_ids == ("n2", "n3")


def test_a_wish_waits_for_the_next_checkpoint_where_the_program_is_not_told_first() -> None:
    wanted = bends(nodes_wanted=1)
    stale: dict[str, Any] = {"saved_at": {wanted.id: NOW - 100}, "created_at": NOW - 400}
    assert actions(running(wanted, N1, N2, **stale)) == []
    assert actions(running(replace(wanted, spec=bends(Bends.RESTART).spec), N1, N2, **stale)) != []
    never = running(wanted, N1, N2, saved_at={}, created_at=NOW - 601)
    assert isinstance(actions(never)[0], ShrinkAttempt), "a program that never saves is not waited for"


def test_a_plain_command_is_stopped_once_all_nodes_are_there_and_they_are_kept_for_it() -> None:
    wanted = bends(Bends.RESTART, nodes_wanted=2)
    end, *kept = actions(running(wanted, N1, spare=(node("n2", reserved_for=wanted.id),)))
    assert isinstance(end, EndAttempt)
    assert end.outcome is Outcome.RESIZED
    assert [(one.node_id, one.job_id) for one in kept if isinstance(one, ReserveNode)] == [("n1", "a"), ("n2", "a")]


def test_a_plain_command_starts_again_at_the_size_that_is_wanted_on_the_nodes_kept_for_it() -> None:
    waits = bends(Bends.RESTART, state=JobState.RESIZING, nodes_wanted=2)
    nodes = [node(name, reserved_for=waits.id) for name in ("n1", "n2")] + [node("n3")]
    (start,) = (one for one in actions(world(jobs=[waits], nodes=nodes)) if isinstance(one, StartAttempt))
    assert (start.epoch, sorted(slot.node_id for slot in start.slots)) == (2, ["n1", "n2"])


def test_what_was_lost_is_bought_again_and_given_to_the_job_after_a_pause() -> None:
    gone = Slot(N2.id, 1, (0,), "127.0.0.9", released=True, leaving=True, until=NOW - 20)
    snapshot = running(bends(high=2), N1, left=(gone,), resized_at=NOW - 20, offers=[offer("near")])
    (bought,) = actions(snapshot)
    assert isinstance(bought, BuyNode)
    assert "began with 2" in bought.reason
    there = replace(snapshot, nodes=(N1, node("n3", reserved_for=bends().id)))
    assert actions(there) == [], "its size changed just now"
    (grow,) = actions(heard(there, LATER), LATER)
    assert isinstance(grow, GrowAttempt)


def test_free_nodes_that_nobody_waits_for_are_given_to_a_job_that_saves() -> None:
    snapshot = heard(running(bends(), N1, spare=(node("n2"), node("n3"))), LATER)
    (grow,) = actions(snapshot, LATER)
    assert isinstance(grow, GrowAttempt)
    assert len(grow.slots) == 2
    assert not actions(replace(snapshot, saved_at={}), LATER), "it would lose all that it did"
    waiting = replace(job("b", nodes=9), state_since=LATER)
    assert not any(
        isinstance(one, GrowAttempt) for one in actions(replace(snapshot, jobs=(*snapshot.jobs, waiting)), LATER)
    )


def test_a_change_that_would_not_be_earned_back_is_not_made() -> None:
    short = bends()
    short = replace(short, spec=replace(short.spec, run_time_s=200.0))
    assert actions(heard(running(short, N1, spare=(node("n2"),)), LATER), LATER) == []
    why = targets.pays_back_s(1, 2, 30.0)
    assert why == pytest.approx(30 / (2 / 1.1 - 1)), "by Amdahl's law with a serial tenth"


def test_only_what_runs_and_was_told_nothing_bends() -> None:
    one = attempt(bends(), N1, N2)
    assert bending.may_lose(bends(), one, {N2.id})
    assert not bending.may_lose(bends(), replace(one, state=AttemptState.STARTING), {N2.id})
    assert not bending.may_lose(bends(), replace(one, failed_at=NOW), {N2.id})
    assert not bending.may_lose(None, one, {N2.id})


def test_explained_is_the_size_the_wish_and_what_stands_in_between() -> None:
    wanted = bends(nodes_wanted=2)
    snapshot = running(wanted, N1)
    size, target, why = steps.explained(wanted, snapshot.attempts[0], snapshot, NOW) or (0, 0, "")
    assert (size, target) == (1, 2)
    assert "its owner wants 2; no node" in why
    assert steps.explained(job("b"), None, snapshot, NOW) is None


def test_a_node_that_is_suspect_leaves_one_that_bends_in_place_and_the_rest_goes_on() -> None:
    of = bends(low=1, high=2)
    sick = care.finding("1", "n2", "nvlink:retries", check="nvlink", suggested=Remedy.DRAIN_AND_RESET)
    one = care.Care(running(of, N1, N2), NOW)
    one.hear(sick)
    one.rest()
    one.pass_s(one.snapshot.policy.health.drain_s + 60)
    (shrink,) = (action for action in one.plan().actions if isinstance(action, ShrinkAttempt))
    assert shrink.node_ids == ("n2",)
    assert not one.of(Evict)


def test_the_nodes_that_a_job_moves_to_are_not_what_it_grows_by() -> None:
    wanted = bends(nodes_wanted=2)
    move = Migration(MigrationId("m1"), wanted.id, MigrationState.PREPARING, NOW, NOW, "planner", "cheaper", 1)
    snapshot = running(wanted, N1, spare=(node("n2", reserved_for=wanted.id),))
    assert any(isinstance(action, GrowAttempt) for action in actions(snapshot))
    assert not any(isinstance(action, GrowAttempt) for action in actions(replace(snapshot, migrations=(move,))))
