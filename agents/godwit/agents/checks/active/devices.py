"""What one GPU is asked to do; the seam at which a real one, this machine's CPU, and a fake one look alike."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from godwit.agents.checks.active import floors

KINDS = ("bf16", "fp32")
"""The number formats that are tried: tensor cores, and the plain units."""


class Device(Protocol):
    """A GPU that computes. Anything may raise `RuntimeError` with the driver's words; anything may never return."""

    @property
    def index(self) -> int:
        """Its place on the node."""

    def digest(self, kind: str) -> str:
        """What a fixed chain of matrix products comes to, as a word that differs as soon as one bit does."""

    def rate(self, check: str) -> float:
        """How fast it is, in the unit of the check: "matmul", "bandwidth" or "host-copy"."""


class Fleet(Protocol):
    """The GPUs of one order."""

    @property
    def devices(self) -> Collection[Device]:
        """Each of them."""

    def all_reduce(self) -> tuple[float, str]:
        """Bus bandwidth in GB/s that all of them reach together, and an error where the sum came out wrong."""


SLOW_FACTOR = 0.6
"""What a fake GPU with the fault "slow" has left of its speed."""


@dataclass(frozen=True)
class FakeDevice:
    """A GPU on paper: it shows the figures of its model, and its injected faults spoil them."""

    index: int
    model: str
    faults: frozenset[str] = frozenset()

    def digest(self, kind: str) -> str:
        """Equal on equal models, unless it corrupts silently."""
        spoiled = f"{self.index}" if "silent-corruption" in self.faults else ""
        return hashlib.sha256(f"{self.model} {kind} {spoiled}".encode()).hexdigest()[:16]

    def rate(self, check: str) -> float:
        """The figure of its model."""
        return floors.nominal(self.model, check) * (SLOW_FACTOR if "slow" in self.faults else 1.0)


@dataclass(frozen=True)
class FakeFleet:
    """Fake GPUs of one node."""

    devices: tuple[FakeDevice, ...]

    def all_reduce(self) -> tuple[float, str]:
        """As fast as the slowest of them."""
        model = self.devices[0].model
        return min(
            floors.nominal(model, "all-reduce") * (SLOW_FACTOR if "slow" in d.faults else 1.0) for d in self.devices
        ), ""
