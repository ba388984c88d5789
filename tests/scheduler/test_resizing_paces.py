"""How fast a job was at each size is added up from its reports, and decides whether it gets more nodes by itself."""

import math
from dataclasses import replace

import pytest
from godwit.domain.elasticity import Batch, Bends, Pace
from godwit.domain.jobs import Attempt, Job, JobState, Progress
from godwit.scheduler import planner
from godwit.scheduler.plan import GrowAttempt
from godwit.scheduler.resizing import paces, targets
from godwit.scheduler.snapshot import Policy
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, world

N1, N2 = (node(f"n{number}", idle_since=None) for number in range(1, 3))


def bends(at: float = NOW, step: int = 100, known: dict[int, Pace] | None = None) -> Job:
    made = job("a", nodes_min=1, nodes_max=4, state=JobState.RUNNING, epoch=1)
    spec = replace(made.spec, elastic=Bends.IN_PLACE)
    return replace(made, spec=spec, progress=Progress(step, at, paces=known or {}))


def on_two(of: Job, since: float = NOW - 500) -> Attempt:
    return replace(attempt(of, N1, N2), created_at=since)


def test_steps_and_time_between_two_reports_count_for_the_size_that_it_had() -> None:
    of = bends(known={1: Pace(50, 100.0), 2: Pace(10, 5.0)})
    assert paces.watched(of, on_two(of), 110, NOW + 5) == {1: Pace(50, 100.0), 2: Pace(20, 10.0)}


@pytest.mark.parametrize(
    ("why", "since", "resized_at", "step"),
    [
        ("the report before was of another attempt", NOW + 1, None, 110),
        ("its size changed a moment ago", NOW - 500, NOW - 10, 110),
        ("its size changed between the two", NOW - 500, NOW + 2, 110),
        ("it went back to its checkpoint", NOW - 500, None, 95),
    ],
)
def test_other_time_does_not_count(why: str, since: float, resized_at: float | None, step: int) -> None:
    of = bends(known={2: Pace(10, 5.0)})
    one = replace(on_two(of, since), resized_at=resized_at)
    assert paces.watched(of, one, step, NOW + 5) == {2: Pace(10, 5.0)}, why


def test_nothing_counts_while_a_node_is_on_its_way_nor_for_a_job_of_one_size() -> None:
    of = bends()
    one = on_two(of)
    joining = replace(one, slots=(one.slots[0], replace(one.slots[1], joining=True)))
    assert paces.watched(of, joining, 110, NOW + 5) == {}
    fixed = replace(job("b", nodes=2, state=JobState.RUNNING, epoch=1), progress=Progress(1, NOW))
    assert paces.watched(fixed, attempt(fixed, N1, N2), 9, NOW + 5) == {}


def test_what_was_long_ago_fades() -> None:
    of = bends(known={2: Pace(4000, 4000.0)})
    assert paces.watched(of, on_two(of), 120, NOW + 10)[2] == Pace(2020, 2010.0)


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(-5, 50)), max_size=30))
def test_whatever_is_reported_paces_are_finite_and_not_negative(said: list[tuple[int, float]]) -> None:
    of, now = bends(), NOW
    for step, later_s in said:
        now += later_s
        of = replace(of, progress=Progress(step, now, paces=paces.watched(of, on_two(of), step, now)))
        assert of.progress is not None
        assert all(pace.steps >= 0 and 0 < pace.seconds < math.inf for pace in of.progress.paces.values())
    assert all(0 < speed < math.inf for speed in paces.speeds(of).values())


def test_a_size_speaks_once_it_was_watched_and_a_scaled_batch_is_worth_more() -> None:
    of = bends(known={1: Pace(100, 50.0), 2: Pace(9, 3.0), 4: Pace(0, 90.0)})
    assert paces.speeds(of) == {1: 2.0}
    of = bends(known={1: Pace(100, 50.0), 2: Pace(90, 50.0)})
    assert paces.speeds(of) == {1: 2.0, 2: 1.8}
    assert paces.speeds(replace(of, spec=replace(of.spec, batch=Batch.SCALE))) == {1: 2.0, 2: 3.6}


def test_free_nodes_go_only_to_a_job_that_was_seen_to_get_faster() -> None:
    later = NOW + Policy().resizing.settle_s

    def grows(known: dict[int, Pace]) -> bool:
        of = bends(known=known)
        spare = node("n3", last_seen_at=later - 0.5, lease_until=later + 14.5)
        its = replace(N1, last_seen_at=later - 0.5, lease_until=later + 14.5)
        snapshot = world(jobs=[of], nodes=[its, spare], attempts=[attempt(of, its)], saved_at={of.id: later - 1})
        return any(isinstance(each, GrowAttempt) for each in planner.plan(snapshot, later, seed=1).actions)

    assert grows({}), "by Amdahl's law, before anything was seen"
    assert grows({1: Pace(100, 100.0), 2: Pace(180, 100.0)})
    assert not grows({1: Pace(100, 100.0), 2: Pace(101, 100.0)}), "one in a hundred never earns the stop back"
    assert not grows({1: Pace(100, 100.0), 2: Pace(90, 100.0)})
    assert targets.pays_back_s(1, 2, 30.0, {1: 1.0, 2: 0.9}) == math.inf
