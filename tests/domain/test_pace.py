"""Who of a gang lags."""

from godwit.domain.pace import Straggler, stragglers
from hypothesis import given
from hypothesis import strategies as st

EVEN = dict.fromkeys(range(4), 1.0)


def lagging(lag: float) -> dict[int, float]:
    return {**EVEN, 2: 1.0 + lag}


def test_a_rank_that_lags_in_three_windows_is_a_straggler() -> None:
    assert stragglers([EVEN, *[lagging(0.15)] * 3]) == [Straggler(2, 0.1499999999999999, 3)]


def test_two_windows_are_too_few_and_so_is_a_lag_of_a_twentieth() -> None:
    assert stragglers([EVEN, lagging(0.5), lagging(0.5)]) == []
    assert stragglers([EVEN, *[lagging(0.05)] * 5]) == []


def test_a_window_in_which_it_keeps_up_begins_the_count_anew() -> None:
    assert stragglers([EVEN, lagging(0.2), lagging(0.2), EVEN, lagging(0.2)]) == []


def test_the_first_window_does_not_count() -> None:
    assert stragglers([lagging(0.2)] * 3) == []


def test_of_two_ranks_nobody_can_be_blamed() -> None:
    assert stragglers([{0: 1.0, 1: 2.0}] * 9) == []


def test_the_slowest_is_named_first() -> None:
    window = {**dict.fromkeys(range(6), 1.0), 3: 1.2, 5: 1.6}
    assert [one.rank for one in stragglers([window] * 4)] == [5, 3]


@given(st.lists(st.dictionaries(st.integers(0, 7), st.floats(0.1, 10), max_size=8), max_size=8), st.floats(0.5, 4))
def test_it_does_not_depend_on_how_fast_all_are_together(windows: list[dict[int, float]], factor: float) -> None:
    # A power of two, so that no rounding moves a rank over the threshold.
    factor = 2.0 ** round(factor)
    scaled = [{rank: value * factor for rank, value in window.items()} for window in windows]
    assert [one.rank for one in stragglers(scaled)] == [one.rank for one in stragglers(windows)]


@given(st.lists(st.dictionaries(st.integers(0, 7), st.floats(0.1, 10), max_size=8), max_size=8))
def test_never_does_everybody_lag(windows: list[dict[int, float]]) -> None:
    ranks = {rank for window in windows for rank in window}
    assert not ranks or len(stragglers(windows)) < len(ranks)
