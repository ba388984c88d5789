"""What a sound GPU of each model reaches, for a GPU that has no peers to be compared with.

Peers come first, since absolute figures move with clocks, drivers, and how a cloud builds its machines.
"""

from dataclasses import dataclass

from godwit.domain import mig


@dataclass(frozen=True)
class Floors:
    """Of one model: what is usual, in the units of `figures.UNITS`; None where no public figure is known.

    `all_reduce` and `all_reduce_return` are bus bandwidths in GB/s that all GPUs of a node of eight reach together: the
    first before work, the second on return to it.
    """

    matmul: float | None = None
    bandwidth: float | None = None
    host_copy: float | None = None
    all_reduce: float | None = None
    all_reduce_return: float | None = None


MODELS: dict[str, Floors] = {
    "A100-80GB-SXM": Floors(271, 1564, 21, 150, 228),
    "H100-SXM": Floors(795, 2540, 48, 150, 400),
    "H200-SXM": Floors(795, 3110, 48, 150, 400),
    "B200": Floors(1745, 5808, None, 150, 400),
    "L40S": Floors(all_reduce=20),
    "H100-PCIe": Floors(all_reduce=15),
}
"""Bandwidth of HBM: NVIDIA DCGM's diagnostic, typical values. Matmul: dense bf16, best found, stas00/ml-engineering.
Host copy: Azure/azurehpc-health-checks, pinned memory, PCIe gen4 and gen5. All-reduce: NVIDIA/NVSentinel's preflight
(150; L40S 20, PCIe 15) and its re-admission (400); the A100's 228 is azurehpc-health-checks'."""

SHARE = {"matmul": 0.6, "bandwidth": 0.75, "host-copy": 0.5}
"""How much of the usual a GPU must reach. Bandwidth: DCGM fails below 75 %. Matmul: the best found needs shapes chosen
for one GPU, and our one shape reaches about 80 % of it; below 60 % something is wrong. Host copy: a program that is not
bound to the GPU's own socket gets about half."""


def floor(model: str, check: str, *, strict: bool, gpus: int) -> float | None:
    """The least that is accepted; None where nobody knows. `strict` is for the return to work after a repair."""
    known = MODELS.get(model)
    if known is None or mig.split(model)[1]:
        return None
    if check == "all-reduce":
        whole_node = strict and gpus >= 8
        return known.all_reduce_return if whole_node else known.all_reduce
    usual = {"matmul": known.matmul, "bandwidth": known.bandwidth, "host-copy": known.host_copy}[check]
    return None if usual is None else usual * SHARE[check]


def nominal(model: str, check: str) -> float:
    """What a fake GPU of this model shows; a model without figures shows those of a middling GPU."""
    known = MODELS.get(model, Floors())
    usual = {
        "matmul": known.matmul, "bandwidth": known.bandwidth, "host-copy": known.host_copy,
        "all-reduce": known.all_reduce_return and known.all_reduce_return * 1.1,
    }[check]  # fmt: skip
    return usual or {"matmul": 100.0, "bandwidth": 800.0, "host-copy": 20.0, "all-reduce": 30.0}[check]
