"""The replay of failing fleets is the same for everybody who answers, and a quick look at it prints every row."""

import random
from collections import Counter

import pytest
from godwit.domain.health import Remedy

from benchmarks.figures import Figure
from benchmarks.goodput import measurement
from benchmarks.goodput.agent import Agent, last_words
from benchmarks.goodput.baselines import Oracle, Requeue
from benchmarks.goodput.faults import KINDS, MIX, Nature
from benchmarks.goodput.godwit import Godwit
from benchmarks.goodput.inputs import Trouble
from benchmarks.goodput.machines import Fault, Machine
from benchmarks.goodput.measurement import Scenario
from benchmarks.goodput.scenario import TOTAL, Fleet, Happening, happenings
from benchmarks.goodput.training import Stint, Training
from benchmarks.goodput.world import World

QUICK = Fleet("128 nodes, quick", 128, 128, 2, days=5.0)
CALM = Trouble(bursts=0, stubborn_bugs=0)


def test_the_mix_is_that_of_llama_3() -> None:
    assert TOTAL == 419
    fleet = measurement.SCENARIOS[0].fleet
    quiet = Trouble(0, 0, 0, 0.9, 0, 0.3, 0, bursts=0, stubborn_bugs=0)
    assert len(happenings(fleet, quiet, 1)) == 419
    assert {category.name: category.count for category in MIX}["HBM3"] == 72


def test_equal_seeds_give_equal_worlds_and_others_do_not() -> None:
    assert happenings(QUICK, Trouble(), 3) == happenings(QUICK, Trouble(), 3)
    assert happenings(QUICK, Trouble(), 3) != happenings(QUICK, Trouble(), 4)


def test_the_oracle_is_better_than_those_who_wait_and_evicts_nobody_who_is_well() -> None:
    oracle, requeue = (World(QUICK, 1, made()).live() for made in (Oracle, Requeue))
    assert 0 < requeue.ettr < oracle.ettr < 1
    assert (oracle.wrong, oracle.onto_known) == ([], [])


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.lines], ids=lambda kind: kind.name)
def test_what_a_kind_writes_is_read_by_the_agents_own_parser(kind: object) -> None:
    """A line that no parser knows would test nothing, unless it is one that must be passed over."""
    one = next(found for found in KINDS.values() if found is kind)
    machine = Machine("node-1", "00001", 1, "pod-0")
    lines = [line.format(pci=machine.pci(3), nic="0000:3b:00.0", gpc=1, tpc=2) for line in one.lines]
    found = Agent(machine).read(lines, 1_000.0)
    assert bool(found) == (one.name != "register")
    assert all(one.gpu in {None, machine.uuid(3)} for one in found)


def test_what_a_fault_shows_is_found_by_the_checks_and_over_after_its_repair() -> None:
    machine = Machine("node-1", "00001", 1, "pod-0")
    watch = Agent(machine)
    happening = Happening(1, 0.0, KINDS["hbm-remapped"], 0.5, 3, 0.5)
    machine.faults.append(Fault(happening, 3, 0.0, Remedy.RESET_GPU))
    assert "row-remap:pending" in {one.code for one in watch.poll(30.0)}
    assert watch.poll(60.0) == []
    assert machine.repaired(Remedy.RESET_GPU, (3,))
    assert watch.was_reset([3]) or watch.poll(90.0)


def test_every_end_has_last_words_and_a_plain_exception_points_at_no_hardware() -> None:
    assert last_words("a", "exception") is None
    assert last_words("a", "gpu-lost") is not None
    for kind in KINDS.values():
        last_words("a", kind.name)


def test_work_is_kept_up_to_the_newest_checkpoint_that_was_safe() -> None:
    training = Training()
    training.begin(Stint(0.0, interval_s=90.0, stall_s=10.0, commit_s=20.0))
    training.end(250.0, saves=False)
    assert training.kept_s == pytest.approx(180.0)
    assert training.lost_s == pytest.approx(45.0)
    training.falls_back()
    assert training.kept_s == pytest.approx(90.0)


def test_a_last_checkpoint_that_is_damaged_costs_what_came_after_the_one_before_it() -> None:
    training = Training()
    training.begin(Stint(0.0, interval_s=90.0, stall_s=10.0, commit_s=20.0))
    training.end(250.0, saves=True)
    assert training.kept_s == pytest.approx(225.0)
    training.falls_back()
    assert training.kept_s == pytest.approx(180.0)


def test_a_remedy_is_the_weakest_that_helps() -> None:
    rng = random.Random(7)
    drawn = Counter(KINDS["gpu-halt"].remedy(rng.random()) for _ in range(2_000))
    assert drawn[Remedy.RESET_GPU] > drawn[Remedy.REBOOT] > 0 < drawn[Remedy.REPLACE_NODE]


def test_godwit_keeps_a_small_fleet_at_work_and_its_breaker_holds() -> None:
    """Two bursts, a stubborn program and spares that run out, all within five days."""
    ours = World(QUICK, 0, Godwit()).live()
    assert 0.9 < ours.ettr < 1
    assert ours.cap_exceeded == 0
    assert ours.evictions > 0


def test_plans_of_the_small_snapshot_come_to_the_same_as_those_of_the_whole_fleet() -> None:
    """Which of two nodes that are alike takes over may differ, and with it who is struck next."""
    fleet = Fleet("32 nodes", 32, 32, 2, days=20.0)
    small, exact = (World(fleet, 5, Godwit(exact=exact), trouble=CALM).live() for exact in (False, True))
    assert abs(small.ettr - exact.ettr) < 0.02


def test_a_quick_look_has_all_rows() -> None:
    scenario = Scenario(Fleet("64 nodes, quick", 64, 64, 2, days=4.0), 0.9, 0.1)
    figures: list[Figure] = list(measurement.measure([scenario], seeds=1))
    assert len(figures) == 21
    assert {figure.name for figure in figures if figure.goal is not None} >= {
        "goodput 64 nodes, quick: ETTR, mean", "goodput 64 nodes, quick: wrong evictions, share",
        "goodput 64 nodes, quick: restarts onto a known-bad node", "goodput 64 nodes, quick: breaker's cap passed",
    }  # fmt: skip


def test_only_hardware_justifies_an_eviction() -> None:
    assert all(kind.nature is not Nature.HARDWARE for kind in KINDS.values() if kind.name.startswith("xid-"))
