"""Machines as they truly are: what is wrong with each, whether anybody knows it or not."""

from dataclasses import dataclass, field, replace

from godwit.domain.health import Remedy

from benchmarks.goodput.faults import Effect, Kind, Nature
from benchmarks.goodput.scenario import Happening

BUSES = (0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF)
"""PCI buses of the GPUs of a DGX H100."""


@dataclass(eq=False)
class Fault:
    """Something that is wrong with one GPU of a machine. `remedy` is the weakest that ends it.

    `struck` counts how often it was felt. `told_at` is when the control plane was first told of it since the machine
    was last repaired or passed a test.
    """

    happening: Happening
    gpu: int
    since: float
    remedy: Remedy
    struck: int = 1
    told_at: float | None = None

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.happening.kind

    @property
    def is_hardware(self) -> bool:
        """Whether it is the machine's, and matters."""
        return self.kind.nature is Nature.HARDWARE


@dataclass(eq=False)
class Machine:
    """One machine at a place in the fleet. `serial` is what its devices are known by; a machine may come back."""

    id: str
    serial: str
    place: int
    domain: str
    lemon: int | None = None
    alive: bool = True
    boot: int = 1
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_sick(self) -> bool:
        """Whether the hardware has a fault that matters."""
        return not self.alive or any(fault.is_hardware for fault in self.faults)

    @property
    def is_odd(self) -> bool:
        """Whether anything is not as it should be, harmless or not."""
        return not self.alive or bool(self.faults)

    @property
    def stops_starts(self) -> bool:
        """Whether a program that starts on it fails."""
        return not self.alive or any(fault.kind.blocks for fault in self.faults)

    @property
    def rate(self) -> float:
        """At which share of its speed it works."""
        slow = [fault.kind.rate for fault in self.faults if fault.kind.effect is Effect.SLOW]
        return min(slow, default=1.0)

    def uuid(self, gpu: int) -> str:
        """What the driver calls a GPU of it."""
        return f"GPU-{self.serial}-{gpu}"

    def pci(self, gpu: int) -> str:
        """Its bus id, as the kernel writes it."""
        return f"0000:{BUSES[gpu]:02x}:00"

    def repaired(self, remedy: Remedy, gpus: tuple[int, ...]) -> bool:
        """What a repair of these GPUs (none: all) ends is gone; whether it worked, as far as it can tell."""
        mine = [fault for fault in self.faults if not gpus or fault.gpu in gpus or remedy is Remedy.REBOOT]
        left = [fault for fault in mine if fault.remedy.strength > remedy.strength]
        self.faults = [fault for fault in self.faults if fault not in mine or fault in left]
        if remedy is Remedy.REBOOT:
            self.boot += 1
            return self.alive
        return not any(fault.kind.resists for fault in left)

    def forget(self) -> None:
        """What is still wrong has to be noticed anew: a repair or a test said that it is well."""
        for fault in self.faults:
            fault.told_at = None

    def again(self, name: str) -> "Machine":
        """The same machine, sold again."""
        self.forget()
        return replace(self, id=name, alive=True, boot=self.boot + 1, faults=list(self.faults))
