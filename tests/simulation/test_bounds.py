"""Bounds of the fleet while everything goes wrong: never above the maximum, and every job still comes to its end."""

from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.context import Context
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database
from godwit.domain.jobs import Resources
from godwit.domain.resources import parse_gpus
from godwit.scheduler.bounds import Bounds, Warm

from tests import databases
from tests.simulation import world
from tests.simulation.invariants import Violation

MAX_NODES = 4
"""Less than the jobs of most seeds want together, and room for the largest gang beside a warm node."""

BOUNDED = replace(
    world.POLICY,
    bounds=Bounds(max_nodes=MAX_NODES, max_usd_per_hour=12.0, warm=(Warm(Resources(parse_gpus("H100:1"))),)),
)


class BoundedWorld(world.World):
    """A world that is watched for its maximum, and whose operator stops keeping a node warm when the faults end."""

    def __init__(self, seed: int, database: Database, shelf: Shelf) -> None:
        super().__init__(seed, database, shelf)
        self.database = database
        self.most, self.warm_bought = 0, 0

    def second(self) -> None:
        """One second, then the maximum."""
        super().second()
        with self.database.read() as conn:
            nodes = queries.nodes(conn)
        cost = sum(node.offer.price_usd_per_hour for node in nodes)
        if len(nodes) > MAX_NODES or cost > 12.0:
            raise Violation(f"{len(nodes)} nodes at ${cost:.2f}/h")
        self.most = max(self.most, len(nodes))
        self.warm_bought += any(node.reserved_for is None for node in nodes)
        if not self.faulty and self.context.policy.bounds.warm:
            cold = replace(BOUNDED, bounds=replace(BOUNDED.bounds, warm=()))
            self.context = Context(**{**vars(self.context), "policy": cold})
            self._resumed = False  # as after a restart with another configuration


def test_a_bounded_fleet_stays_within_its_maximum_and_finishes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(world, "POLICY", BOUNDED)
    reached = []
    for seed in range(5):
        database = databases.in_memory()
        bounded = BoundedWorld(seed, database, Shelf(tmp_path / str(seed)))
        try:
            bounded.run()
        finally:
            database.close()
        assert bounded.warm_bought, "a warm node was kept for some time"
        reached.append(bounded.most)
    assert max(reached) == MAX_NODES, "the maximum was felt"
