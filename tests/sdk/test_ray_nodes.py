"""Ray Train is told of each change of its nodes, and of nothing else."""

import logging
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def ray_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module beside a stand-in for Ray, which takes seconds to import."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delitem(sys.modules, "godwit.sdk.ray_nodes", raising=False)
    yield import_module("godwit.sdk.ray_nodes")
    sys.modules.pop("godwit.sdk.ray_nodes", None)


def test_it_is_told_once_of_each_node_that_came_or_went(ray_nodes: Any) -> None:
    looks = iter(["ab", "ab", "abc", "abc", "ac", "ac"])
    told: list[str] = []
    now = ""

    def look() -> frozenset[str]:
        nonlocal now
        now = next(looks)
        return frozenset(now)

    lookout = ray_nodes.Lookout(look, lambda: told.append(now))
    for _ in range(6):
        lookout.once()
    assert told == ["abc", "ac"], "the first look is no change"


def test_what_could_not_be_told_is_told_with_the_next_look_and_complained_of_once(
    ray_nodes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    looks, tries = iter([frozenset("ab"), *[frozenset("a")] * 4]), []

    def told() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise TimeoutError("busy")

    lookout = ray_nodes.Lookout(lambda: next(looks), told)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            lookout.once()
    assert len(tries) == 3, "twice in vain, once with success"
    assert [record.getMessage() for record in caplog.records] == [
        "Ray Train hears of new and lost nodes up to 20 s late: busy"
    ]
