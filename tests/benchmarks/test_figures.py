"""A figure says whether its goal is met, and the table shows it."""

import pytest

from benchmarks.figures import Figure, Goal, at_least, at_most, table


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (at_most(1.5), 1.5, True),
        (at_most(1.5), 1.51, False),
        (at_least(150), 150, True),
        (at_least(150), 149.9, False),
    ],
)
def test_a_goal_is_met_up_to_its_own_value(goal: Goal, value: float, met: bool) -> None:
    assert goal.met_by(value) is met


def test_the_table_names_goal_and_verdict_and_leaves_a_baseline_without() -> None:
    missed = Figure("submissions", 12.345, "/s", at_least(150), "8 connections")
    baseline = Figure("bare answers", 3265.7, "/s")
    head, first, second = table([missed, baseline]).splitlines()
    assert head.split() == ["FIGURE", "VALUE", "UNIT", "GOAL", "MET", "NOTE"]
    assert first.split() == ["submissions", "12.3", "/s", ">=", "150", "NO", "8", "connections"]
    assert second.split() == ["bare", "answers", "3,266", "/s"]
