"""What Crusoe's API does not tell of its types: prices, and the GPUs' exact models.

Dollars per GPU-hour on demand from Crusoe's public list as of August 2026, by the type's name without its count
("h100-80gb-sxm-ib" of "h100-80gb-sxm-ib.8x").
"""

from collections.abc import Mapping
from dataclasses import dataclass

from godwit.domain import gpu_names


@dataclass(frozen=True)
class Family:
    """Types that differ only in how many GPUs they have. Memory is of each GPU."""

    gpu_model: str
    gpu_memory_gib: float
    usd_per_gpu_hour: float


FAMILIES: Mapping[str, Family] = {
    "a40": Family("A40", 48.0, 0.90),
    "l40s-48gb": Family("L40S", 48.0, 1.00),
    "a100": Family("A100-40GB-PCIe", 40.0, 1.45),
    "a100-80gb": Family("A100-80GB-PCIe", 80.0, 1.65),
    "a100-80gb-sxm-ib": Family("A100-80GB-SXM", 80.0, 1.95),
    "h100-80gb-sxm-ib": Family("H100-SXM", 80.0, 3.90),
    "h200-141gb-sxm-ib": Family("H200-SXM", 141.0, 4.29),
    "mi300x-192gb-ib": Family("MI300X", 192.0, 3.45),
}

FABRICS = ("-ib", "-roce")
"""How the names of families end whose machines can share a fabric."""


def family_name(product: str) -> str:
    """What is before the count: "a100" of "a100.8x"."""
    return product.rpartition(".")[0]


def family_of(product: str, gpu_type: str, own_prices: Mapping[str, float]) -> Family | None:
    """The family of a type at one's own price, else the list's; None when neither has a price for it."""
    name = family_name(product)
    known, own = FAMILIES.get(name), own_prices.get(name)
    if own is None:
        return known
    if known is not None:
        return Family(known.gpu_model, known.gpu_memory_gib, own)
    memory_gib = _memory_gib(name)
    return Family(gpu_names.normalise(gpu_type, memory_gib) or gpu_type, memory_gib, own)


def _memory_gib(name: str) -> float:
    """80 of "h100-80gb-sxm-ib", 0 when the name does not tell."""
    digits = next((part.removesuffix("gb") for part in name.split("-") if part.endswith("gb")), "")
    return float(digits) if digits.isdecimal() else 0.0
