"""What a gateway counts is told in windows that meet, each again until it is answered."""

from collections import Counter

from godwit.domain.wire.routes import ServiceSignals
from godwit.gateway.reports import WINDOW_MAX_S, Reports
from hypothesis import given
from hypothesis import strategies as st


def of(requests: int) -> list[ServiceSignals]:
    """One service that took so many."""
    return [ServiceSignals(name="chat", project="p", in_flight=0, queued=0, requests=requests, shed=0, failed=0)]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=20))
def test_whatever_is_lost_each_request_is_in_one_window(steps: list[tuple[int, bool, bool]]) -> None:
    """Each step: so many requests, whether the report arrives, and whether its answer does."""
    reports, waiting, heard = Reports("g-1", wall=1_000.0, now=5.0), 0, Counter[float]()

    def measure() -> list[ServiceSignals]:
        nonlocal waiting
        found, waiting = of(waiting), 0
        return found

    total = sum(count for count, *_ in steps)
    for number, (count, arrives, is_answered) in enumerate([*steps, (0, True, True), (0, True, True)]):
        waiting += count
        report = reports.next(measure, version=1, now=6.0 + number)
        if arrives:
            heard[report.at] = report.services[0].requests
        if arrives and is_answered:
            reports.answered()
    assert heard.total() == total


def test_windows_meet_and_their_ends_follow_a_clock_that_nobody_sets() -> None:
    reports = Reports("g-1", wall=1_000.0, now=5.0)
    first = reports.next(lambda: of(1), version=1, now=7.0)
    assert (first.at, first.window_s) == (1_002.0, 2.0)
    assert reports.next(lambda: of(9), version=2, now=9.0) == first, "not answered: the same again"
    reports.answered()
    second = reports.next(lambda: of(1), version=2, now=10.0, draining=True)
    assert (second.at, second.window_s, second.draining) == (1_005.0, 3.0, True)
    reports.answered()
    assert reports.next(lambda: of(0), version=2, now=10.0 + 9 * WINDOW_MAX_S).window_s == WINDOW_MAX_S
