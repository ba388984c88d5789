"""What is remembered of what somebody held: exact, told in whatever order, and forgotten by halves."""

from dataclasses import replace

import pytest
from godwit.domain.ids import JobId, ProjectId
from godwit.domain.jobs import AttemptState, JobState, Slot
from godwit.scheduler import planner, projects
from godwit.scheduler.asks import Ask
from godwit.scheduler.averages import HALF_LIFE_S, Average, Forgetting, gpu_s, held_by
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.demands import Demand
from godwit.scheduler.fair_share import Usage
from godwit.scheduler.plan import StartAttempt
from godwit.scheduler.quotas import CPUS, GPUS, MEMORY
from godwit.scheduler.snapshot import Policy, Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, world

HALF_S = 100.0
VISION, SPEECH = ProjectId("vision"), ProjectId("speech")

stints = st.lists(st.tuples(st.floats(0, 900), st.floats(0, 900), st.integers(0, 8)), max_size=6)


def kept(of: list[tuple[float, float, int]]) -> Average:
    found = Average()
    for first, last, gpus in of:
        found = found.plus({GPUS: gpus * 1000.0}, min(first, last), max(first, last), HALF_S)
    return found


@given(stints.flatmap(lambda of: st.tuples(st.just(of), st.permutations(of))))
def test_the_order_in_which_ends_are_told_does_not_matter(
    told: tuple[list[tuple[float, float, int]], list[tuple[float, float, int]]],
) -> None:
    here, there = (kept(of).upto(1_000.0, HALF_S).amounts.get(GPUS, 0.0) for of in told)
    assert here == pytest.approx(there, abs=1e-6)


@given(st.floats(0, 400), st.floats(0, 400), st.floats(0, 400))
def test_what_is_held_in_two_parts_is_what_is_held_in_one(first: float, second: float, after: float) -> None:
    whole = Average().plus({GPUS: 8.0}, 0.0, first + second, HALF_S)
    parts = Average().plus({GPUS: 8.0}, 0.0, first, HALF_S).plus({GPUS: 8.0}, first, first + second, HALF_S)
    then = first + second + after
    assert parts.upto(then, HALF_S).amounts[GPUS] == pytest.approx(whole.upto(then, HALF_S).amounts[GPUS], abs=1e-9)


@given(stints)
def test_it_is_what_an_engine_that_was_told_at_each_instant_has(of: list[tuple[float, float, int]]) -> None:
    usage = Usage({GPUS: 64_000}, half_life_s=HALF_S)
    moments: list[tuple[float, bool, Demand]] = []
    for number, (first, last, gpus) in enumerate(of):
        one = Demand(f"j{number}", Ask(gpus), 0.0, project="p")
        moments += [(min(first, last), True, one), (max(first, last), False, one)]
    for at, starts, one in sorted(moments, key=lambda moment: (moment[0], not moment[1])):
        usage.at(at)
        (usage.started if starts else usage.ended)(one, 1)
    usage.at(1_000.0)
    mine = kept(of).upto(1_000.0, HALF_S).amounts.get(GPUS, 0.0)
    assert mine == pytest.approx(usage.averages("p")[GPUS], abs=1e-6)


def test_half_of_it_is_left_after_a_half_life_and_a_clock_that_goes_back_changes_nothing() -> None:
    held = Average().plus({GPUS: 8.0}, 0.0, HALF_S, HALF_S)
    assert held.amounts[GPUS] == pytest.approx(4.0)
    assert held.upto(2 * HALF_S, HALF_S).amounts[GPUS] == pytest.approx(2.0)
    assert held.upto(0.0, HALF_S) == held


def test_what_a_gang_holds_is_in_the_units_of_accounts() -> None:
    assert held_by(Ask(1, 300, cpu_milli=4_000, memory_mib=512), 2) == {GPUS: 600.0, CPUS: 8_000.0, MEMORY: 1_024.0}


def test_served_gpu_seconds_count_shares_as_parts() -> None:
    slots = [Slot(node("n").id, 0, (0, 1), ""), Slot(node("n").id, 1, (2,), "", gpu_milli=250)]
    assert gpu_s(slots, 100.0) == 225.0
    assert gpu_s(slots, -1.0) == 0.0


def of_two(usage: dict[ProjectId, Average], half_life_s: float = HALF_LIFE_S) -> Snapshot:
    jobs = [
        replace(job(f"{project}-1"), project=project, created_at=NOW - (60 if project == VISION else 50))
        for project in (VISION, SPEECH)
    ]
    policy = Policy(bounds=Bounds(max_nodes=1), forgetting=Forgetting(half_life_s))
    return world(jobs=jobs, nodes=[node("n1")], usage=usage, policy=policy)


def first_started(snapshot: Snapshot) -> str:
    starts = [one for one in planner.plan(snapshot, NOW, 1).actions if isinstance(one, StartAttempt)]
    return starts[0].job_id


def test_who_held_more_lately_waits_for_who_held_less() -> None:
    assert first_started(of_two({})) == "vision-1", "the older goes first between equals"
    used = {VISION: Average(NOW - 3_600, {GPUS: 4_000.0})}
    assert first_started(of_two(used)) == "speech-1"
    assert first_started(of_two({**used, SPEECH: Average(NOW, {GPUS: 5_000.0})})) == "vision-1"


def test_a_shorter_half_life_forgets_sooner() -> None:
    used = {VISION: Average(NOW - 3_600, {GPUS: 4_000.0}), SPEECH: Average(NOW, {GPUS: 1_000.0})}
    assert first_started(of_two(used)) == "speech-1"
    assert first_started(of_two(used, 600.0)) == "vision-1"


def test_what_runs_counts_from_its_start_and_one_that_stops_until_it_has_ended() -> None:
    running = replace(job("r", state=JobState.RUNNING, epoch=1), project=VISION)
    mine = replace(attempt(running, node("n1")), created_at=NOW - HALF_S)
    snapshot = world(
        jobs=[running], attempts=[mine], nodes=[node("n1")], policy=Policy(forgetting=Forgetting(HALF_S)),
        usage={VISION: Average(NOW - HALF_S, {GPUS: 2_000.0})},
    )  # fmt: skip
    assert projects.averages(snapshot, NOW)[VISION].amounts[GPUS] == pytest.approx(1_000 + 4_000)
    slots = tuple(replace(slot, released=True) for slot in mine.slots)
    stops = replace(snapshot, attempts=(replace(mine, state=AttemptState.STOPPING, slots=slots),))
    assert projects.averages(stops, NOW) == projects.averages(snapshot, NOW)


def test_an_attempt_of_a_job_that_is_not_read_counts_for_nobody() -> None:
    lost = attempt(job("gone"), node("n1"), job_id=JobId("gone"))
    assert projects.averages(world(attempts=[lost], nodes=[node("n1")]), NOW) == {}
