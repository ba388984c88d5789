"""Which user ids attempts have."""

import pytest
from godwit.agents.confinement import users
from godwit.agents.confinement.users import NARROW, WIDE, Mapped
from hypothesis import given
from hypothesis import strategies as st


def test_all_ids_are_there_outside_of_user_namespaces_and_few_within() -> None:
    assert users.ids(users.mapped("         0          0 4294967295\n")) == WIDE
    assert users.ids(users.mapped("0 100000 65536\n")) == NARROW
    assert users.ids(users.mapped("0 1000 1\n")) == range(0)
    assert users.ids(users.mapped("")) == range(0)


@given(name=st.text(), taken=st.sets(st.sampled_from(list(NARROW)), max_size=20))
def test_an_attempt_has_the_same_id_each_time_and_nobody_elses(name: str, taken: set[int]) -> None:
    chosen = users.choose(NARROW, name, taken)
    assert chosen in NARROW
    assert chosen not in taken
    assert users.choose(NARROW, name, taken) == chosen
    assert users.choose(NARROW, name, taken | {chosen}) != chosen


def test_when_all_are_taken_nobody_gets_one() -> None:
    with pytest.raises(ValueError, match="all 3 user ids"):
        users.choose(range(3), "att-1", {0, 1, 2})


def test_no_id_is_one_that_programs_take_for_negative() -> None:
    assert Mapped(0, 2**31).count == WIDE.stop
