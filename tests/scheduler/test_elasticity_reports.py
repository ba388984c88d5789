"""How fast a job was at each size, from nothing but its own reports of progress."""

import random

import pytest
from godwit.scheduler.elasticity import curve, reports
from godwit.scheduler.elasticity.reports import Report
from hypothesis import given
from hypothesis import strategies as st

REPORTS = st.lists(
    st.builds(Report, st.floats(0, 1e9), st.integers(1, 5), st.integers(1, 8), st.integers(0, 10**9)), max_size=30
)


def _attempt(epoch: int, units: int, since: float, steps_per_s: float, first: int = 0) -> list[Report]:
    return [Report(since + 10 * turn, epoch, units, first + int(10 * turn * steps_per_s)) for turn in range(4)]


def test_throughput_is_steps_over_time_by_size() -> None:
    said = _attempt(1, 2, 0, 5.0) + _attempt(2, 4, 200, 9.0, first=150)
    assert reports.throughputs(said) == {2: 5.0, 4: 9.0}


def test_the_stop_between_two_attempts_is_nobodys_time() -> None:
    said = _attempt(1, 2, 0, 5.0) + _attempt(2, 2, 5_000, 5.0, first=150)
    assert reports.throughputs(said) == {2: 5.0}


def test_a_step_that_went_back_is_not_counted() -> None:
    said = [*_attempt(1, 2, 0, 5.0), Report(31, 1, 2, 0), Report(32, 1, 2, 5)]
    assert reports.throughputs(said)[2] == (150 + 5) / 31


def test_a_size_that_was_hardly_watched_says_nothing() -> None:
    assert not reports.throughputs([Report(0, 1, 2, 0), Report(10, 1, 2, 50)])


def test_a_job_that_stands_still_has_no_speed_to_scale() -> None:
    assert not reports.throughputs([Report(0, 1, 2, 7), Report(1_000, 1, 2, 7)])


@pytest.mark.parametrize("broken", [(float("nan"), 1, 1, 1), (1.0, 1, 0, 1), (1.0, 1, 1, -1)])
def test_a_report_that_makes_no_sense_is_refused(broken: tuple[float, int, int, int]) -> None:
    with pytest.raises(ValueError, match="a report has"):
        Report(*broken)


@given(REPORTS, st.randoms(use_true_random=False))
def test_whatever_is_reported_speeds_are_positive_and_make_a_curve(said: list[Report], rng: random.Random) -> None:
    found = reports.throughputs(said)
    shuffled = list(said)
    rng.shuffle(shuffled)
    assert reports.throughputs(shuffled) == found
    assert all(speed > 0 for speed in found.values())
    assert curve.amdahl(found, (1, 2, 4, 8)).measured == bool(found)
