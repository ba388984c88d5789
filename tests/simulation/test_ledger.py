"""Whatever goes wrong, the ledger's dollars are those on the clouds' own meters, and every second has one reason."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.reconcilers.posting import Bookkeeping
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import bills, ledger_facts
from godwit.control_plane.store.database import Database
from godwit.control_plane.store.ledger_tables import bills as bills_table
from godwit.control_plane.store.ledger_tables import ledger_hours
from godwit.domain.wire.specs import JobSpecIn
from godwit.scheduler.ledger.accounting import Entry, account
from godwit.scheduler.ledger.bills import Bill
from godwit.scheduler.ledger.reading import Reader
from sqlalchemy import func, select

from tests import databases
from tests.simulation.test_migrations import MovingWorld

SEEDS = min(100, int(os.environ.get("GODWIT_SIMULATION_SEEDS", "2")))
HOUR_S = 60.0
"""Worlds last for minutes, so their hours are short."""


class PaidWorld(MovingWorld):
    """Jobs move and machines are taken back; clouds bill by the second, by ten, or by the minute."""

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        super().__init__(seed, database, shelf)
        for cloud in self.clouds:
            shapes = tuple(
                replace(s, spot_price_usd_per_hour=s.price_usd_per_hour / 3) for s in cloud.cloud.settings.shapes
            )
            step_s = self.rng.choice([1.0, 10.0, 60.0])
            cloud.cloud.settings = replace(cloud.cloud.settings, shapes=shapes, billing_step_s=step_s)

    def _make_jobs(self) -> list[tuple[float, JobSpecIn]]:
        words = ["auto", "never", "only"]
        return [
            (
                at,
                spec.model_copy(
                    update={"resources": spec.resources.model_copy(update={"spot": self.rng.choice(words)})}
                ),
            )
            for at, spec in super()._make_jobs()
        ]

    def _break_something(self) -> None:
        super()._break_something()
        spots = [(c.cloud, r) for c in self.clouds for r in c.cloud._rentals.values() if r.spot and r.powered]
        if spots and self.rng.random() < 0.03:
            cloud, rental = self.rng.choice(spots)
            self._tell(f"{rental.id} is taken back")
            cloud.give_notice(rental.id, self.rng.uniform(0, 20))

    def _control_plane(self) -> None:
        super()._control_plane()
        if int(self.elapsed_s) % 7 == 0:
            Bookkeeping(self.context, settle_s=30.0).step()

    @property
    def metered_usd(self) -> float:
        """What the clouds' own meters say."""
        return sum(float(cloud.cloud.billing()["total_usd"]) for cloud in self.clouds)

    def settle(self) -> None:
        """After the end: the last lists are read, the last begun units of billing pass, and all hours are closed."""
        for _ in range(30):
            self.second()
        self.clock.advance(2 * 3_600.0)
        Bookkeeping(self.context, settle_s=0.0).step()


def live(database: Database, until: float) -> tuple[list[Bill], list[Entry]]:
    """All that was ever paid, worked out from the stories at once."""
    with database.read() as conn:
        found = [bills.bill_from(row) for row in conn.execute(select(bills_table))]
        nodes = ledger_facts.nodes(conn, [b.node_id for b in found if b.node_id])
        reader = Reader(ledger_facts.facts(conn, 0.0))
    entries: list[Entry] = []
    for bill in found:
        node = nodes.get(str(bill.node_id))
        entries += account(bill, None if node is None else reader.story(node), 0.0, until)
    return found, entries


def closed(database: Database) -> tuple[dict[str, float], float]:
    """GPU-seconds by reason, and the dollars, of the hours that were written down."""
    table = ledger_hours
    with database.read() as conn:
        rows = conn.execute(
            select(table.c.reason, func.sum(table.c.gpu_s), func.sum(table.c.usd)).group_by(table.c.reason)
        )
        found: Sequence[tuple[str, float, float]] = [(r[0], r[1], r[2]) for r in rows]
    return {reason: gpu_s for reason, gpu_s, _ in found}, sum(usd for *_, usd in found)


def test_the_ledger_closes_against_the_clouds_meters_under_faults_moves_and_spot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bills, "HOUR_S", HOUR_S)
    reasons = set[str]()
    for seed in range(SEEDS):
        database = databases.in_memory()
        try:
            world = PaidWorld(seed, database, Shelf(tmp_path / str(seed)))
            world.run()
            world.settle()
            paid, entries = live(database, world.clock.now())
            by_reason, usd = closed(database)
            metered = world.metered_usd
        finally:
            database.close()
        assert sum(e.usd for e in entries) == pytest.approx(metered, rel=1e-3), f"seed {seed}"
        assert usd == pytest.approx(metered, rel=1e-3), f"seed {seed}"
        gpu_s = sum(bill.gpu_count * (bill.paid_until - bill.began_at) for bill in paid)
        assert sum(e.gpu_s for e in entries) == pytest.approx(gpu_s), f"seed {seed}"
        assert sum(by_reason.values()) == pytest.approx(gpu_s), f"seed {seed}"
        reasons |= set(by_reason)
    # Which others occur is up to the seeds.
    assert {"busy", "starting", "idle"} <= reasons
