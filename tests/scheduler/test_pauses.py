"""Pauses after machines that never became usable."""

import pytest
from godwit.scheduler.market.pauses import TIMES_MAX, after_failures
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(("failed", "pause_s"), [(0, 30.0), (1, 60.0), (3, 240.0), (4, 480.0), (10_000, 480.0)])
def test_each_failure_doubles_the_pause_up_to_eight_minutes(failed: int, pause_s: float) -> None:
    assert after_failures(30.0, failed) == pause_s


@given(st.floats(0, 1e6), st.integers(0, 10_000))
def test_pauses_never_shrink_and_have_an_end(hold_s: float, failed: int) -> None:
    assert after_failures(hold_s, failed) <= after_failures(hold_s, failed + 1) <= TIMES_MAX * hold_s
