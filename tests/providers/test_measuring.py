"""How calls to a provider go: how many, which errors, how long, within a window that moves."""

import pytest
from godwit.domain.errors import NoCapacity
from godwit.providers.layers import CallMetrics, Measured
from godwit.providers.layers.measuring import CRASHED, OK, WINDOW_CALLS, WINDOW_S, Call, CallFigures, figures, ranked
from hypothesis import given
from hypothesis import strategies as st

SECONDS = st.floats(min_value=0, max_value=600, allow_nan=False)
OUTCOMES = st.sampled_from([OK, "NoCapacity", "RateLimited", CRASHED])


class Watch:
    """A clock that a test winds."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_no_calls_have_no_figures() -> None:
    assert figures([]) == CallFigures(0, {}, None, None)


def test_a_hundred_calls_have_their_fiftieth_as_median_and_their_ninety_ninth_as_p99() -> None:
    calls = [Call(0.0, "offers", OK, float(number)) for number in range(1, 101)]
    found = figures(calls)
    assert (found.calls, found.median_s, found.p99_s) == (100, 50.0, 99.0)


def test_of_one_call_every_rank_is_that_call() -> None:
    assert (ranked([3.0], 0.5), ranked([3.0], 0.99)) == (3.0, 3.0)


@given(st.lists(st.tuples(OUTCOMES, SECONDS), min_size=1, max_size=300))
def test_figures_agree_with_what_was_counted(calls: list[tuple[str, float]]) -> None:
    found = figures([Call(0.0, "offers", outcome, seconds) for outcome, seconds in calls])
    took = [seconds for _, seconds in calls]
    assert found.calls == len(calls)
    assert sum(found.errors.values()) == sum(outcome != OK for outcome, _ in calls)
    assert OK not in found.errors
    for figure, share in ((found.median_s, 0.5), (found.p99_s, 0.99)):
        assert figure in took
        assert sum(seconds <= (figure or 0.0) for seconds in took) >= share * len(took)
    assert (found.median_s or 0.0) <= (found.p99_s or 0.0) <= max(took)


def test_calls_leave_the_window_as_time_passes_and_the_totals_keep_them() -> None:
    clock = Watch()
    metrics = CallMetrics(clock)
    metrics.count("sim", "offers", OK, 1.0)
    clock.at = WINDOW_S / 2
    metrics.count("sim", "instances", "NoCapacity", 2.0)
    assert [call.method for call in metrics.recent("sim")] == ["instances", "offers"]
    clock.at = WINDOW_S
    assert [call.method for call in metrics.recent("sim")] == ["instances"]
    assert metrics.recent("another") == []
    assert sum(metrics.calls().values()) == 2


def test_many_calls_of_one_method_are_bounded_and_push_no_other_out() -> None:
    metrics = CallMetrics(Watch())
    metrics.count("sim", "launch", "NoCapacity", 30.0)
    for _ in range(WINDOW_CALLS * 2):
        metrics.count("sim", "instances", OK, 0.1)
    kept = metrics.recent("sim")
    assert len(kept) == WINDOW_CALLS + 1
    assert kept[-1] == Call(0.0, "launch", "NoCapacity", 30.0)


def test_a_call_that_fails_by_a_fault_of_our_own_is_not_counted_as_well() -> None:
    metrics = CallMetrics()

    class Broken:
        """An adapter with a fault, and a cloud that is full."""

        name = "sim"

        def offers(self) -> None:
            raise KeyError("price")

        def check(self) -> None:
            raise NoCapacity

    measured = Measured(Broken(), metrics)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        measured.offers()
    with pytest.raises(NoCapacity):
        measured.check()
    assert metrics.calls() == {("sim", "offers", CRASHED): 1, ("sim", "check", "NoCapacity"): 1}
