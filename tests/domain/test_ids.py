"""Ids sort by time and repeat with their seed."""

import random

from godwit.domain.clock import ManualClock
from godwit.domain.ids import ALPHABET, IdSource


def test_later_ids_sort_after_earlier_ones() -> None:
    clock = ManualClock()
    source = IdSource(clock.now, random.Random(1))
    ids = []
    for _ in range(100):
        ids.append(source.new("job"))
        clock.advance(0.02)
    assert ids == sorted(ids)
    assert len(set(ids)) == 100


def test_the_same_seed_and_time_make_the_same_ids() -> None:
    first, second = (IdSource(ManualClock().now, random.Random(7)) for _ in range(2))
    assert [first.new("node") for _ in range(5)] == [second.new("node") for _ in range(5)]


def test_an_id_has_no_letters_that_are_misread() -> None:
    made = IdSource(ManualClock().now, random.Random(1)).new("job").removeprefix("job-")
    assert set(made) <= set(ALPHABET)
