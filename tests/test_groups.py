"""Tests that start a real Ray run one after the other: two of them at a time are too much for two cores."""

import os

import pytest


@pytest.mark.xdist_group("ray")
def test_a_group_of_tests_is_told_apart_by_those_who_spread_tests_over_workers(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("there is one worker")
    assert request.node.nodeid.endswith("@ray"), "this pytest and this pytest-xdist do not go together"
