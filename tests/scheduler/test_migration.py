"""Moving running jobs, pure: the inequality, what comes next, and when the planner wishes a move by itself."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.ids import IntentId, MigrationId, NodeId
from godwit.domain.jobs import Attempt, Job, JobState, Progress
from godwit.domain.migrations import Copy, Migration, MigrationState, Sum
from godwit.domain.nodes import Node, NodeState
from godwit.domain.resources import Infra
from godwit.scheduler import planner
from godwit.scheduler.migration import steps, targets, wishes
from godwit.scheduler.migration.actions import CopyAhead, Migrate, MoveMigration, WishMigration
from godwit.scheduler.migration.measured import measured
from godwit.scheduler.migration.policy import MigrationPolicy
from godwit.scheduler.migration.targets import Target
from godwit.scheduler.plan import BuyNode, StartAttempt
from godwit.scheduler.snapshot import Policy, Snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

HOUR = 3600.0
HERE = offer(provider="aws", price=30.0)
THERE = offer(provider="lambda", price=20.0)
RUNNING = job("a", state=JobState.RUNNING, epoch=1)
MIGRATION = Migration(
    MigrationId("m"), RUNNING.id, MigrationState.PREPARING, NOW - 10, NOW - 10, "user", "because", 1,
    to=Infra("lambda"),
)  # fmt: skip


def running(hours: float = 10.0, ran_h: float = 2.0, price: float = 20.0, **more: Any) -> Snapshot:
    """A job on a node of $30 an hour that still runs for `hours`, while another cloud sells one for `price`."""
    of = replace(RUNNING, spec=replace(RUNNING.spec, run_time_s=(hours + ran_h) * HOUR))
    here = node("here", HERE)
    given_: dict[str, Any] = {
        "jobs": [of], "nodes": [here], "attempts": [attempt(of, here, created_at=NOW - ran_h * HOUR)],
        "offers": [replace(THERE, price_usd_per_hour=price)], "saved_at": {of.id: NOW},
        "saved_bytes": {of.id: 100 * 10**9},
    }  # fmt: skip
    return world(**given_ | more)


def found(snapshot: Snapshot, to: Infra | None = None) -> Target:
    target = planner.preview_move(snapshot, RUNNING.id, to, NOW, 1)
    assert isinstance(target, Target)
    return target


def wished(snapshot: Snapshot) -> list[WishMigration]:
    """What the planner wishes within a minute: each job has its turn in it."""
    plans = (planner.plan(snapshot, NOW + turn * wishes.LOOK_S, 1) for turn in range(3 * wishes.TURNS))
    return [action for plan in plans for action in plan.actions if isinstance(action, WishMigration)]


def alive(snapshot: Snapshot) -> Snapshot:
    """The same, heard of for long."""
    return replace(snapshot, nodes=tuple(replace(n, last_seen_at=NOW + 1e4, idle_since=None) for n in snapshot.nodes))


def test_the_inequality_adds_up() -> None:
    it = found(running()).sum
    assert (it.from_usd_per_hour, it.to_usd_per_hour) == pytest.approx((30.0, 20.0), rel=0.02)
    assert it.left_h == pytest.approx(10.0, rel=0.01)
    assert it.saving_usd == pytest.approx(100.0, rel=0.03)
    assert it.egress_usd == pytest.approx(9.0), "100 GB that leave AWS"
    assert it.cost_usd == pytest.approx(it.overlap_usd + it.standstill_usd + it.egress_usd)
    assert f"= ${it.saving_usd:.2f} > ${it.cost_usd:.2f}" in str(it)


def test_where_it_runs_already_is_no_place_to_go() -> None:
    spare = running(nodes=[node("here", offer("h100.16x", provider="aws", gpu_count=16))], offers=[])
    assert "already" in str(planner.preview_move(spare, RUNNING.id, Infra("aws"), NOW, 1))


def test_a_place_that_sells_nothing_is_told() -> None:
    assert "cannot be had azure" in str(planner.preview_move(running(), RUNNING.id, Infra("azure"), NOW, 1))


def test_the_planner_wishes_what_pays_and_names_the_place() -> None:
    wish, *_ = wished(alive(running()))
    assert (wish.job_id, wish.from_epoch, wish.to) == (RUNNING.id, 1, Infra("lambda", "east"))


@pytest.mark.parametrize(
    "snapshot",
    [
        running(hours=0.5),
        running(price=29.9),
        running(price=40.0),
        running(ran_h=0.4),
        running(policy=Policy(migration=MigrationPolicy(acts=False))),
        running(migrations=(replace(MIGRATION, state=MigrationState.FAILED),)),
        running(migrations=tuple(
            replace(MIGRATION, id=MigrationId(f"m{n}"), job_id=job(f"o{n}").id, actor="planner",
                    state=MigrationState.DONE) for n in range(4)
        )),
    ],
    ids=["soon over", "hardly cheaper", "dearer", "just started", "told not to", "tried lately", "enough this hour"],
)  # fmt: skip
def test_it_does_not_wish_what_does_not_pay_or_comes_too_often(snapshot: Snapshot) -> None:
    assert wished(alive(snapshot)) == []


@settings(deadline=None, max_examples=20)
@given(st.floats(0.1, 48), st.floats(1, 100))
def test_whatever_it_wishes_saves_a_multiple_of_its_cost(hours: float, price: float) -> None:
    for wish in wished(alive(running(hours=hours, price=price))):
        it, policy = wish.arithmetic, MigrationPolicy()
        assert it.saving_usd >= max(policy.least_usd, policy.margin * it.cost_usd)


# What comes next.


def moving(there: Node | None = None, of: Job = RUNNING, held: Attempt | None = None, **fields: Any) -> list[Any]:
    """The next actions for a migration of a running job, whose node there is as given."""
    here = node("here", HERE)
    nodes = [here] if there is None else [here, there]
    attempts = [attempt(of, here)] if held is None else [held]
    snapshot = world(
        jobs=[of], nodes=nodes, attempts=attempts, offers=[THERE], migrations=(replace(MIGRATION, **fields),)
    )
    return list(steps.steps(snapshot, NOW))


def kept(**fields: Any) -> Node:
    return node("there", THERE, reserved_for=RUNNING.id, **fields)


COPIED = {NodeId("there"): Copy(IntentId("i"), worked=True, step=5)}


def test_it_waits_for_its_node_then_copies_then_stops_the_job() -> None:
    assert moving(kept(state=NodeState.JOINING)) == []
    (copy,) = moving(kept())
    assert isinstance(copy, CopyAhead)
    assert (copy.node_id, copy.to_store) == ("there", False)
    assert moving(kept(), copies={NodeId("there"): Copy(IntentId("i"))}) == []
    (stop,) = moving(kept(), copies=COPIED)
    assert isinstance(stop, Migrate)
    assert stop.nodes == ("there",)


@pytest.mark.parametrize(
    ("there", "fields", "to"),
    [
        (None, {"copies": COPIED}, "failed"),
        (kept(state=NodeState.LOST), {"copies": COPIED}, "failed"),
        (kept(), {"state_since": NOW - 10_000}, "failed"),
        (kept(), {"from_epoch": 0}, "cancelled"),
    ],
    ids=["its node is gone", "its node is lost", "it took too long", "the attempt is another"],
)
def test_before_it_switches_whatever_goes_wrong_ends_it_alone(there: Node | None, fields: Any, to: str) -> None:
    (move,) = moving(there, **fields)
    assert isinstance(move, MoveMigration)
    assert move.to == to


def test_what_was_kept_elsewhere_for_the_job_is_not_where_it_goes() -> None:
    elsewhere = node("there", HERE, reserved_for=RUNNING.id)
    assert targets.held(world(nodes=[elsewhere]), MIGRATION) == []
    assert [n.id for n in targets.held(world(nodes=[kept()]), MIGRATION)] == ["there"]


def test_missing_nodes_are_bought_where_the_job_is_to_go() -> None:
    of, here = RUNNING, node("here", HERE, idle_since=None)
    planned = replace(MIGRATION, state=MigrationState.PLANNED)
    snapshot = world(jobs=[of], nodes=[here], attempts=[attempt(of, here)], offers=[HERE, THERE], migrations=(planned,))
    move, buy = planner.plan(snapshot, NOW, 1).actions
    assert isinstance(move, MoveMigration)
    assert isinstance(buy, BuyNode)
    assert (move.to, buy.job_id, buy.offer.provider) == ("preparing", of.id, "lambda")


def test_a_job_that_migrates_starts_on_the_nodes_kept_for_it_though_its_old_one_is_free() -> None:
    of = replace(RUNNING, state=JobState.MIGRATING, progress=Progress(5, NOW))
    switching = replace(MIGRATION, state=MigrationState.SWITCHING, nodes=(NodeId("there"),))
    snapshot = world(jobs=[of], nodes=[node("here", HERE), kept()], migrations=(switching,))
    (start,) = planner.plan(snapshot, NOW, 1).actions
    assert isinstance(start, StartAttempt)
    assert [slot.node_id for slot in start.slots] == ["there"]


def test_what_came_of_it_is_told_in_the_terms_of_what_was_predicted() -> None:
    done = replace(
        MIGRATION, state=MigrationState.DONE, sum=Sum(from_usd_per_hour=30.0, to_usd_per_hour=20.0),
        prepared_at=NOW - 360, switched_at=NOW, stopped_at=NOW, working_at=NOW + 36,
    )  # fmt: skip
    there = attempt(replace(RUNNING, epoch=2), kept())
    old = node("here", HERE, state=NodeState.TERMINATED, state_since=NOW + 360)
    it = measured(done, [there], [old], NOW + 36 + HOUR)
    assert it is not None
    assert it.saving_usd == pytest.approx(10.0)
    assert it.overlap_usd == pytest.approx(2.0 + 3.0), "six minutes of the new node, and six of the old one"
    assert it.standstill_usd == pytest.approx(0.3)
