"""Services while everything goes wrong, killed at each step: as many serve as are wanted, and nobody is cut off.

Gateways die, lose their clocks and are cut off as well: none asks a process that ended long ago, and each request that
they took counts once.
"""

import os
from pathlib import Path

import pytest
from godwit.control_plane.services import traffic
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import routing
from godwit.control_plane.store.database import Transaction
from godwit.domain.wire.routes import GatewaySignals
from godwit.scheduler.serving import hedge
from sqlalchemy import update

from tests import databases
from tests.simulation.invariants import Violation
from tests.simulation.serving import ServingWorld

SEEDS = min(200, int(os.environ.get("GODWIT_SIMULATION_SEEDS", "1")))
FIRST = int(os.environ.get("GODWIT_SIMULATION_FIRST_SEED", "0"))

FOUND = (76, 101, 103)
"""Seeds that found something: what was answered since a backup was owed for ever after the restore; a report counted
twice after a clock was set back; a replica that became ready since a backup was STARTING for ever after the restore."""


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes are a long time for a world that runs second by second."""
    monkeypatch.setattr(hedge, "SETTLES_S", 20.0)


def run_seed(seed: int, folder: Path) -> ServingWorld:
    """One world, from its seed to quiet."""
    database = databases.in_memory()
    served = ServingWorld(seed, database, Shelf(folder))
    try:
        served.run()
    finally:
        served.close()
        database.close()
    return served


def run_seeds(count: int, folder: Path) -> None:
    """Several worlds, one after the other."""
    for seed in range(count):
        run_seed(seed, folder / str(seed))


def test_services_come_to_what_is_wanted_and_nobody_is_cut_off(tmp_path: Path) -> None:
    for seed in dict.fromkeys((*FOUND, *range(FIRST, FIRST + SEEDS))):
        try:
            run_seed(seed, tmp_path / str(seed))
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}")


def test_stopping_a_replica_without_asking_the_gateways_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The simulation can fail."""
    monkeypatch.setattr(traffic, "_has_left", lambda *_: True)
    with pytest.raises(Violation, match="requests in flight"):
        run_seeds(20, tmp_path)


def test_counting_a_report_each_time_that_it_comes_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    careful = routing.told

    def forgetful(tx: Transaction, signals: GatewaySignals, now: float) -> None:
        tx.conn.execute(update(routing.gateways).values(signals=None))
        careful(tx, signals, now)

    monkeypatch.setattr(routing, "told", forgetful)
    with pytest.raises(Violation, match="counted"):
        run_seed(21, tmp_path)
