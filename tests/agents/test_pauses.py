"""Agents that were cut off together come back apart, soon enough for their leases."""

import random

import pytest
from godwit.agents import pauses
from hypothesis import given
from hypothesis import strategies as st

HEARTBEATS_S, LEASES_S = st.floats(0.2, 60), st.floats(1, 600)


@given(st.integers(1, 10_000), HEARTBEATS_S, LEASES_S, st.floats(-1e9, 1e9), st.integers())
def test_a_pause_is_bounded_by_the_lease_and_by_what_the_control_plane_may_ask(
    failed: int, heartbeat_s: float, lease_s: float, asked_s: float, seed: int
) -> None:
    most_s = pauses.longest_s(heartbeat_s, lease_s)
    assert most_s <= max(pauses.FIRST_S, lease_s / 4)
    pause_s = pauses.again_s(failed, most_s, random.Random(seed), asked_s)
    least_s = min(max(asked_s, 0.0), pauses.WAIT_MAX_S)
    assert least_s <= pause_s <= least_s + most_s


def test_a_first_failure_is_followed_within_a_blink() -> None:
    assert all(pauses.again_s(1, 10.0, random.Random(seed)) <= pauses.FIRST_S for seed in range(1_000))


@pytest.mark.parametrize("failed", [6, 8, 20])
def test_five_thousand_that_are_cut_off_at_once_spread_over_the_whole_of_the_pause(failed: int) -> None:
    """In no tenth of the longest pause come more than an eighth of them."""
    most_s = pauses.longest_s(5.0, 30.0)
    when = [pauses.again_s(failed, most_s, random.Random(seed)) for seed in range(5_000)]
    reach_s = min(most_s, pauses.FIRST_S * 2 ** (failed - 1))
    tenths = [sum(1 for one in when if int(one / reach_s * 10) == tenth) for tenth in range(10)]
    assert max(tenths) <= 5_000 / 8


@given(st.floats(15, 600))
def test_after_an_answer_that_did_not_come_there_is_time_for_another_heartbeat_or_two(lease_s: float) -> None:
    patience_s = pauses.patience_s(lease_s)
    assert patience_s >= pauses.ANSWER_S
    assert 2 * patience_s + pauses.FIRST_S < lease_s


def test_who_has_a_long_lease_waits_for_one_who_is_busy_with_thousands() -> None:
    assert (pauses.patience_s(15.0), pauses.patience_s(30.0)) == (5.0, 10.0)


@given(HEARTBEATS_S, st.integers())
def test_the_first_answer_after_a_silence_is_followed_at_an_instant_of_ones_own(heartbeat_s: float, seed: int) -> None:
    soon_s = pauses.next_beat_s(heartbeat_s, random.Random(seed), is_first=True)
    assert 0.0 <= soon_s <= heartbeat_s
    assert pauses.next_beat_s(heartbeat_s, random.Random(seed), is_first=False) == heartbeat_s
