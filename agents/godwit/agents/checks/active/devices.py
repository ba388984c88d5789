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


LEFT = {
    "matmul": {"slow": 0.6, "thermal": 0.6, "power-brake": 0.5, "power-limit": 0.4},
    "bandwidth": {"slow": 0.6, "power-brake": 0.7},
    "host-copy": {"slow": 0.6, "pcie-narrow": 0.5, "pcie-replays": 0.7},
    "all-reduce": {"slow": 0.6, "nvlink-fatal": 0.2, "nvlink5-fatal": 0.2, "nvlink-crc": 0.3, "peer-access": 0.05},
}
"""What faults leave of a fake GPU's speed, by check."""

ERRORS = {
    "gpu-lost": "CUDA error: GPU is lost",
    "gpu-missing": "CUDA error: invalid device ordinal",
    "gpu-reset-required": "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    "ecc-uncorrected": "CUDA error: uncorrectable ECC error encountered",
    "ecc-uncontained": "CUDA error: uncorrectable ECC error encountered",
    "row-remap-failure": "CUDA error: uncorrectable ECC error encountered",
    "fabric": "CUDA error: system not yet initialized",
    "driver-hang": "CUDA error: unknown error",
    "driver-mismatch": "CUDA error: system has unsupported display driver / cuda driver combination",
}
"""What CUDA says where a fake GPU has such a fault: the runtime's words for the errors that such GPUs raise."""


@dataclass(frozen=True)
class FakeDevice:
    """A GPU on paper: it shows the figures of its model, and its injected faults spoil them."""

    index: int
    model: str
    faults: frozenset[str] = frozenset()

    def digest(self, kind: str) -> str:
        """Equal on equal models, unless it corrupts silently."""
        self._raise()
        spoiled = f"{self.index}" if "silent-corruption" in self.faults else ""
        return hashlib.sha256(f"{self.model} {kind} {spoiled}".encode()).hexdigest()[:16]

    def rate(self, check: str) -> float:
        """The figure of its model, less what its faults cost."""
        self._raise()
        left = min((share for fault, share in LEFT[check].items() if fault in self.faults), default=1.0)
        return floors.nominal(self.model, check) * left

    def _raise(self) -> None:
        for fault, said in ERRORS.items():
            if fault in self.faults:
                raise RuntimeError(said)


@dataclass(frozen=True)
class FakeFleet:
    """Fake GPUs of one node."""

    devices: tuple[FakeDevice, ...]

    def all_reduce(self) -> tuple[float, str]:
        """As fast as the slowest of them."""
        return min(device.rate("all-reduce") for device in self.devices), ""
