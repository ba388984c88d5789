"""Partitions of real hosts: never two epochs at once, no lost job, and a healed node that discards itself.

Each seed is one schedule of cuts, one-way cuts, delay and loss: between node and control plane, between ranks, and to
the store. A few run with every test run; `make partitions` runs all.
"""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.network import diaries, schedules
from tests.network.schedules import Fault, Schedule
from tests.network.switch import PERFECT, Link, why_not
from tests.network.world import World, running, wait_for

_WHY_NOT = why_not()

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT), pytest.mark.timeout(540)]

FEW = (0, 3)
"""A node that is cut off from the control plane, and ranks from each other."""

MANY = range(1, 57)

STEPS, STEP_S = 80, 0.1
START_S, END_S = 120.0, 300.0
"""Very long on purpose: nothing is measured here but what must never be."""


@pytest.mark.xdist_group("network")
@pytest.mark.parametrize("seed", FEW)
def test_a_network_that_breaks_and_heals_neither_doubles_nor_loses_a_job(seed: int, tmp_path: Path) -> None:
    _live_through(schedules.of(seed), tmp_path)


@pytest.mark.partitions
@pytest.mark.parametrize("seed", [seed for seed in MANY if seed not in FEW])
def test_many_networks_that_break_and_heal_neither_double_nor_lose_a_job(seed: int, tmp_path: Path) -> None:
    _live_through(schedules.of(seed), tmp_path)


def test_a_schedule_is_the_same_each_time_and_all_kinds_of_faults_come() -> None:
    assert schedules.of(5) == schedules.of(5)
    assert {schedules.of(seed).troubles[0].fault for seed in range(len(Fault))} == set(Fault)


def _live_through(schedule: Schedule, folder: Path) -> None:
    with running(folder, random.Random(schedule.seed), bucket=schedule.needs_bucket) as world:
        try:
            world.submit("job", schedule.nodes, STEPS, STEP_S)
            wait_for("the first step", START_S, lambda: _has_stepped(world))
            _trouble(world, schedule)
            job = wait_for("the end of the job", END_S, lambda: _ended(world))
            _judge(world, job, schedule)
        except BaseException:
            print(f"{schedule}\n{world.log()}")
            raise


def _has_stepped(world: World) -> bool:
    return any(life.last_step > 0 for life in diaries.read(world.diaries))


def _trouble(world: World, schedule: Schedule) -> None:
    """Bring about what is due and heal what is over, until all of it is."""
    hosts, began = world.hosts_of("job"), time.monotonic()
    ends = max(trouble.at_s + trouble.lasts_s for trouble in schedule.troubles)
    before: set[tuple[str, str]] = set()
    while (now_s := time.monotonic() - began) < ends:
        links: dict[tuple[str, str], Link] = {}
        for trouble in schedule.troubles:
            if trouble.at_s <= now_s < trouble.at_s + trouble.lasts_s:
                host = hosts[trouble.rank]
                links |= trouble.links(host, [other for other in world.switch.hosts if other != host])
        for pair in before | set(links):
            world.switch.set(pair, links.get(pair, PERFECT))
        before = set(links)
        time.sleep(0.05)
    world.switch.heal()


def _ended(world: World) -> dict[str, Any] | None:
    job = world.job("job")
    return job if job["state"] in {"succeeded", "failed", "cancelled"} else None


def _judge(world: World, job: dict[str, Any], schedule: Schedule) -> None:
    assert job["state"] == "succeeded", f"the job is lost: {job['state']}"
    wait_for("the end of every process", START_S, lambda: not diaries.still_alive(world.diaries))
    lives = diaries.read(world.diaries)
    assert diaries.double_runs(lives) == []
    assert max(life.last_step for life in lives if life.epoch == job["epoch"]) == STEPS
    saved = job["checkpoints"]
    _nothing_that_was_saved_is_lost(lives, saved)
    wait_for("every node to be well or gone", START_S, lambda: _all_settled(world))
    gaps = diaries.gaps_s(lives)
    smallest = f", smallest gap {min(gaps):.2f} s" if gaps else ""
    print(f"{schedule}: {len({life.epoch for life in lives})} epochs ran, {job['epoch']} were placed{smallest}")


def _nothing_that_was_saved_is_lost(lives: list[diaries.Life], saved: list[dict[str, Any]]) -> None:
    """Checkpoints come in the order of epochs, and each epoch goes on from what those before it saved, or later."""
    by_epoch = sorted(saved, key=lambda one: (one["at"], one["step"]))
    assert [one["epoch"] for one in by_epoch] == sorted(one["epoch"] for one in saved)
    for life in lives:
        before = [one["step"] for one in saved if one["epoch"] < life.epoch]
        if life.rank == 0:
            assert life.first_step >= max(before, default=0), f"{life} began before what was saved: {before}"


def _all_settled(world: World) -> bool:
    """Whether no node runs anything any more: each is well and empty, or gone."""
    nodes = world.read("/v1/nodes")["items"]
    return all(node["state"] in {"ready", "terminated", "failed"} for node in nodes)
