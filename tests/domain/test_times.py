"""Durations and instants as people write them."""

from contextlib import suppress

import pytest
from godwit.domain import times
from godwit.domain.errors import InvalidRequest
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_790_000_000.0


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("6h", 21_600), ("2d", 172_800)])
def test_a_duration_is_a_whole_number_of_a_unit(text: str, seconds: float) -> None:
    assert times.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "0h", "-1h", "1.5h", "6 h", "6H", "1h30m", "99999999d", "٦h"])
def test_anything_else_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        times.duration_s(text, ("run_time",))
    (problem,) = refused.value.problems
    assert problem.path == ("run_time",)
    assert "6h" in problem.accepted


@given(st.integers(1, times.LONGEST_S))
def test_a_duration_comes_back_as_long_as_it_was(seconds: int) -> None:
    assert times.duration_s(times.duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("+48h", NOW + 172_800),
        ("2026-12-01T18:00Z", 1_796_148_000),
        ("2026-12-01T19:00+01:00", 1_796_148_000),
    ],
)
def test_an_instant_is_absolute_or_counts_from_now(text: str, at: float) -> None:
    assert times.instant(text, NOW) == at


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-12-01T18:00", "names no time zone"),
        ("2026-12-01", "names no time zone"),
        ("2020-12-01T18:00Z", "is in the past"),
        ("9999-12-31T23:59-14:00", "more than ten years away"),
        ("0001-01-01T00:00+14:00", "is in the past"),
        ("soon", "cannot read"),
        ("+", "cannot read"),
        ("+-1h", "cannot read"),
    ],
)
def test_an_instant_that_nobody_can_keep_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        times.instant(text, NOW)


@given(st.integers(int(NOW) + 1, int(NOW) + times.LONGEST_S))
def test_an_instant_comes_back_as_it_was(at: int) -> None:
    assert times.instant(times.instant_text(at), NOW) == at


@given(st.text(max_size=40))
def test_no_text_is_worse_than_refused(text: str) -> None:
    with suppress(InvalidRequest):
        assert times.instant(text, NOW) > NOW
