"""The seam between what a cloud says of a machine and the machine itself."""

from dataclasses import dataclass
from typing import Protocol

from godwit.domain.drills import Drill
from godwit.domain.wire.agents import GpuFact


@dataclass(frozen=True)
class Machine:
    """One machine to be started.

    `slot` names its place (unique among the live machines of one host, short: it becomes part of paths that unix
    sockets are made in). `address` is an IPv4 loopback address of its own. `gpus` None means: whatever the real
    driver shows; an empty tuple means that there are none.
    """

    instance_id: str
    slot: str
    address: str
    startup_script: str
    gpus: tuple[GpuFact, ...] | None


class Machines(Protocol):
    """Starts and ends machines. Every method returns at once and may be repeated; ends are seen by `is_gone`."""

    def boot(self, machine: Machine) -> None:
        """Start it, unless it was started before. Raises `OSError` when this host cannot."""
        ...

    def stop(self, instance_id: str) -> None:
        """Shut it down in order: its processes are asked first, then ended. An unknown one is no error."""
        ...

    def cut(self, instance_id: str) -> None:
        """Cut its power: every process of it dies without a word. An unknown one is no error."""
        ...

    def drill(self, instance_id: str, kind: Drill, gpu: int | None) -> None:
        """Break it, but for its power: kill its agent, or leave the agent a fault to show. An unknown one is no error.

        See `godwit.domain.drills` for how a fault is left.
        """
        ...

    def warn(self, instance_id: str, within_s: float) -> None:
        """Let the machine know that it is taken back in `within_s`. An unknown one is no error."""
        ...

    def has_crashed(self, instance_id: str) -> bool:
        """Whether its first process ended by itself and not well, while nobody had asked for it."""
        ...

    def is_gone(self, instance_id: str) -> bool:
        """Whether no process of it is left: after `stop` or `cut`, or because it was never started."""
        ...
