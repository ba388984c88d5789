"""A clock that may be set does not move what is decided by it."""

import pytest
from godwit.domain.clock import SLEW, SteadyClock, since_boot_s
from hypothesis import given
from hypothesis import strategies as st


class Machine:
    """A machine's two clocks: one that counts, and one that anybody may set."""

    def __init__(self) -> None:
        self.passed_s, self.off_s = 0.0, 0.0
        self.clock = SteadyClock(lambda: 1_000.0 + self.passed_s + self.off_s, lambda: self.passed_s)

    def after(self, seconds: float) -> float:
        """What the clock says so much later."""
        self.passed_s += seconds
        return self.clock.now()


def test_a_wall_clock_that_nobody_sets_is_followed_exactly() -> None:
    machine = Machine()
    assert [machine.after(10.0) for _ in range(3)] == [1_010.0, 1_020.0, 1_030.0]


def test_a_wall_clock_that_is_set_moves_nothing_at_once() -> None:
    machine = Machine()
    for off_s in (3_600.0, -3_600.0):
        before = machine.after(1.0)
        machine.off_s = off_s
        assert machine.after(0.0) == before


def test_what_is_off_is_made_up_for_slowly() -> None:
    machine = Machine()
    machine.off_s = 5.0
    assert machine.after(20.0) == pytest.approx(1_000.0 + 20.0 * (1 + SLEW))
    assert machine.after(30.0) == pytest.approx(1_055.0)
    machine.off_s = 0.0
    assert machine.after(20.0) == pytest.approx(1_055.0 + 20.0 * (1 - SLEW))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-1e6, 1e6)), max_size=20))
def test_no_second_is_longer_or_shorter_than_it_may_be(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    for passed_s, off_s in steps:
        before, machine.off_s = machine.clock.now(), off_s
        gone_s = machine.after(passed_s) - before
        assert passed_s * (1 - SLEW) - 1e-6 <= gone_s <= passed_s * (1 + SLEW) + 1e-6


def test_the_machine_counts_its_own_seconds() -> None:
    first = since_boot_s()
    assert since_boot_s() >= first > 0
    assert SteadyClock().now() > 1_700_000_000.0
