"""How many workers Ray Train is told, by what godwit says of the job's nodes."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def ray_train(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The glue beside a stand-in for Ray, which takes seconds to import."""
    ray, train = ModuleType("ray"), ModuleType("ray.train")
    train.UserCallback = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.train", train)
    for name in ("ray_train", "ray_nodes"):
        monkeypatch.delitem(sys.modules, f"godwit.sdk.{name}", raising=False)
    for name in ("GODWIT_NUM_NODES", "GODWIT_ELASTIC", "GODWIT_NODES_MIN", "GODWIT_NODES_MAX"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"):
        monkeypatch.setenv(name, "7")  # somebody's own choice stays
    yield import_module("godwit.sdk.ray_train")
    for name in ("ray_train", "ray_nodes"):
        sys.modules.pop(f"godwit.sdk.{name}", None)


def test_a_job_of_so_many_nodes_has_so_many_workers(ray_train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ray_train.scaling() == {"num_workers": 1}, "outside of godwit"
    monkeypatch.setenv("GODWIT_NUM_NODES", "3")
    assert ray_train.scaling(2) == {"num_workers": 6}


def test_one_that_bends_in_place_has_a_range_of_workers(ray_train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NUM_NODES": "2", "ELASTIC": "in-place", "NODES_MIN": "2", "NODES_MAX": "8"}.items():
        monkeypatch.setenv(f"GODWIT_{name}", value)
    assert ray_train.scaling(4)["num_workers"] == (8, 32)
    monkeypatch.setenv("GODWIT_ELASTIC", "restart")
    assert ray_train.scaling(4)["num_workers"] == 8
