"""Machines on paper: for tests and simulations that need a cloud but no processes."""

from collections.abc import Callable

from godwit.domain.drills import Drill
from godwit.providers.machines import Machine


def _nothing(_of: object) -> None:
    """Nobody wants to know."""


class PaperMachines:
    """Implements `machines.Machines` in memory; ends take effect at once.

    `on_boot` is called with each machine that starts, `on_end` with the id of each that ends, however it does: a
    simulation hangs its agents there.
    """

    def __init__(self, on_boot: Callable[[Machine], None] = _nothing, on_end: Callable[[str], None] = _nothing) -> None:
        self.up: dict[str, Machine] = {}
        self.boots: list[str] = []
        self.drills: list[tuple[str, Drill, int | None]] = []
        self.warned: dict[str, float] = {}
        self._crashed: set[str] = set()
        self._on_boot = on_boot
        self._on_end = on_end

    def boot(self, machine: Machine) -> None:
        """Start it, unless it is up."""
        if machine.instance_id not in self.up:
            self.up[machine.instance_id] = machine
            self.boots.append(machine.instance_id)
            self._on_boot(machine)

    def stop(self, instance_id: str) -> None:
        """End it."""
        self.cut(instance_id)

    def cut(self, instance_id: str) -> None:
        """End it."""
        self._crashed.discard(instance_id)
        if self.up.pop(instance_id, None) is not None:
            self._on_end(instance_id)

    def crash(self, instance_id: str) -> None:
        """Its first process dies by itself."""
        self._crashed.add(instance_id)

    def drill(self, instance_id: str, kind: Drill, gpu: int | None) -> None:
        """Note it."""
        self.drills.append((instance_id, kind, gpu))

    def warn(self, instance_id: str, within_s: float) -> None:
        """Note it."""
        self.warned[instance_id] = within_s

    def has_crashed(self, instance_id: str) -> bool:
        """Whether `crash` was called."""
        return instance_id in self._crashed

    def is_gone(self, instance_id: str) -> bool:
        """Whether it is not up."""
        return instance_id not in self.up
