"""A wall clock that is set forward while a node is cut off: no lease ends sooner, so that nothing runs twice."""

from pathlib import Path

import pytest
from godwit.control_plane.services.archives import Shelf
from godwit.domain.clock import Clock

from tests import databases
from tests.simulation.harsh import HarshWorld
from tests.simulation.invariants import Violation
from tests.simulation.machines import SimMachine

SEED = 3
"""Found a double run while the control plane believed its wall clock."""


class SetForward(HarshWorld):
    """Once a program runs, its machine is cut off, and the control plane's clock is set forward by minutes."""

    def _set_clock(self, machines: list[SimMachine]) -> None:
        """Not by chance."""

    def second(self) -> None:
        """One second; then perhaps the only one that this world is about."""
        super().second()
        working = [
            machine
            for machine in self.machines.by_id.values()
            if machine.powered and any(run.alive and run.told_running for run in machine.runs.values())
        ]
        if working and not self._wall_off_s and self.elapsed_s > 12 and self.faulty:
            self._wall_off_s = 200.0
            for machine in working:
                self._cut_off_until[machine.id] = self.clock.now() + 30


class Wall:
    """A clock that jumps with the wall clock."""

    def __init__(self, world: HarshWorld) -> None:
        self._world = world

    def now(self) -> float:
        """Whatever somebody set it to."""
        return self._world.wall()


class Gullible(SetForward):
    """The same under a control plane that believes its wall clock."""

    def _process_clock(self) -> Clock:
        return Wall(self)


def run(world: type[SetForward], folder: Path) -> None:
    """One world, from its seed to quiet."""
    database = databases.in_memory()
    try:
        world(SEED, database, Shelf(folder), frozenset({"clocks"})).run()
    finally:
        database.close()


def test_a_clock_that_is_set_forward_ends_no_lease(tmp_path: Path) -> None:
    run(SetForward, tmp_path)


def test_believing_a_wall_clock_that_is_set_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(Violation, match="double run"):
        run(Gullible, tmp_path)
