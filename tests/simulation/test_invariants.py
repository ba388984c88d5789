"""Whatever goes wrong: no double run, no GPU given twice, no lost job, no leaked machine."""

import os
from pathlib import Path

import pytest
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store.database import Database, open_engine

from tests.simulation.world import Violation, World

SEEDS = int(os.environ.get("GODWIT_SIMULATION_SEEDS", "200"))
FIRST = int(os.environ.get("GODWIT_SIMULATION_FIRST_SEED", "0"))
BATCH = 10


def run_seed(seed: int, folder: Path) -> World:
    """One world, from its seed to quiet."""
    database = Database(open_engine("sqlite://"))
    database.migrate()
    world = World(seed, database, Shelf(folder))
    try:
        world.run()
    finally:
        database.close()
    return world


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BATCH))
def test_no_fault_breaks_an_invariant(first: int, tmp_path: Path) -> None:
    for seed in range(first, min(first + BATCH, FIRST + SEEDS)):
        try:
            run_seed(seed, tmp_path / str(seed))
        except Violation as violation:
            replay = f"GODWIT_SIMULATION_FIRST_SEED={seed} GODWIT_SIMULATION_SEEDS=1 pytest tests/simulation"
            pytest.fail(f"seed {seed}: {violation}\nreplay with: {replay}")


def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    first, second = (run_seed(7, tmp_path / name) for name in ("a", "b"))
    assert first.story == second.story
    assert first.elapsed_s == second.elapsed_s
