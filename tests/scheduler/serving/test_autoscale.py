"""Scaling by what users feel: within bounds, at once upwards, late downwards, and without swinging."""

import math

import pytest
from godwit.domain.serving import Autoscale, Serving, Signal
from godwit.scheduler.serving import autoscale
from godwit.scheduler.serving.view import Traffic
from hypothesis import given
from hypothesis import strategies as st

OF = Autoscale(Signal.IN_FLIGHT, target=4.0, window_s=10.0, down_after_s=60.0, idle_after_s=120.0)
NEEDS = st.lists(st.floats(0.0, 20.0), min_size=1, max_size=60)


def serving(low: int = 1, high: int = 10, of: Autoscale = OF) -> Serving:
    return Serving(low, high, autoscale=of)


def run(needs: list[float], replicas: int = 1, *, low: int = 1, high: int = 10) -> list[int]:
    """How many replicas there are after each second, with so many needed in it."""
    samples: tuple[tuple[float, float], ...] = ()
    found, idle_since = [], None
    for now, need in enumerate(needs):
        samples = autoscale.kept((*samples, (float(now), need)), OF, float(now))
        idle_since = (idle_since if idle_since is not None else float(now)) if need == 0 else None
        replicas, why = autoscale.decide(serving(low, high), replicas, samples, idle_since, float(now))
        assert why
        found.append(replicas)
    return found


@given(needs=NEEDS, low=st.integers(0, 3), more=st.integers(0, 7), replicas=st.integers(0, 12))
def test_there_are_never_fewer_or_more_than_its_owner_allows(
    needs: list[float], low: int, more: int, replicas: int
) -> None:
    found = run(needs, replicas, low=low, high=low + more)
    assert all(low <= count <= low + more for count in found)


@given(need=st.floats(0.1, 9.0), replicas=st.integers(1, 10))
def test_a_steady_need_is_met_and_then_nothing_changes_any_more(need: float, replicas: int) -> None:
    found = run([need] * 200, replicas)
    assert found[-1] * (1 + autoscale.TOLERANCE) >= need
    assert found[-1] <= max(1, math.ceil(need))
    assert len(set(found[100:])) == 1


@given(needs=NEEDS)
def test_what_goes_up_does_not_come_down_before_its_time(needs: list[float]) -> None:
    found = run(needs)
    falls = [now for now in range(1, len(found)) if found[now] < found[now - 1]]
    assert all(now >= OF.down_after_s for now in falls)


def test_a_spike_brings_replicas_at_once_and_keeps_them_for_a_while() -> None:
    found = run([1.0] * 70 + [8.0] * 10 + [1.0] * 100)
    assert found[69] == 1
    assert found[79] == 8
    assert found[79 + int(OF.down_after_s)] == 8
    assert found[-1] == 1


def test_it_goes_to_none_only_where_that_is_allowed_and_back_with_the_first_request() -> None:
    needs = [1.0] * 10 + [0.0] * 200 + [0.1]
    assert run(needs, low=1)[-2:] == [1, 1]
    assert run(needs, low=0)[-2:] == [0, 1]


def test_without_measures_nothing_changes() -> None:
    assert autoscale.decide(serving(), 5, (), None, 1_000.0)[0] == 5


@pytest.mark.parametrize(
    ("signal", "target", "needed"),
    [
        (Signal.IN_FLIGHT, 4.0, 3.0),
        (Signal.TOKENS, 50.0, 2.0),
        (Signal.QUEUE_DELAY, 0.5, 4.0),
        (Signal.LATENCY, 4.0, 1.0),
    ],
)
def test_each_signal_says_how_many_are_needed(signal: Signal, target: float, needed: float) -> None:
    traffic = Traffic(
        1, in_flight=9, queued=3, requests_per_s=5.0, tokens_per_s=100.0, queue_delay_p90_s=9.0, latency_p99_s=0.1
    )
    # A delay at most doubles two replicas, and a latency that is kept lets at most one of them go.
    assert autoscale.needed(Autoscale(signal, target), traffic, ready=2) == needed
    assert autoscale.needed(Autoscale(signal, target), Traffic(1), ready=2) == 0.0
    waking = Traffic(1, queued=1)
    assert (autoscale.needed(Autoscale(signal, target), waking, ready=0) or 0.0) >= 1.0, "whoever waits wakes it"
