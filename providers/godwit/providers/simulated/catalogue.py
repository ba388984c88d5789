"""What the built-in simulated clouds sell.

Prices are plausible and made up: the order of magnitude of public list prices in 2026 (H100-SXM 2 to 4, H200-SXM
2.5 to 4.5, A100-80GB-SXM 1.2 to 2, L40S 0.8 to 1.8 USD per GPU-hour; spot about half). Shapes follow what neoclouds
commonly sell: a part of an 8-GPU host has an equal part of its CPUs and memory.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """One instance type in one place. `capacity` machines can be had at once, on-demand and spot together.

    `spot_price_usd_per_hour` None: not sold as spot. `gpu_memory_gib` is per GPU.
    """

    instance_type: str
    region: str
    gpu_model: str | None
    gpu_count: int
    gpu_memory_gib: float
    cpus: int
    memory_gib: float
    price_usd_per_hour: float
    spot_price_usd_per_hour: float | None
    capacity: int
    fabric_domain: str | None = None
    zone: str | None = None


@dataclass(frozen=True)
class CloudSpec:
    """One simulated cloud: its name, its place among them (1 to 7, part of its addresses) and what it sells."""

    name: str
    index: int
    shapes: tuple[Shape, ...]


_CHIPS: dict[str, tuple[str, float, int, float]] = {
    "h100": ("H100-SXM", 80.0, 26, 225.0),
    "h200": ("H200-SXM", 141.0, 24, 240.0),
    "a100": ("A100-80GB-SXM", 80.0, 30, 225.0),
    "l40s": ("L40S", 48.0, 16, 96.0),
}
"""Family: model, GiB of each GPU, CPUs and GiB of memory per GPU."""


def _gpus(
    cloud: str, region: str, chip: str, count: int, usd_per_gpu_hour: float, capacity: int, *, spot: float | None = 0.5
) -> Shape:
    model, gpu_memory_gib, cpus, memory_gib = _CHIPS[chip]
    price = round(usd_per_gpu_hour * count, 4)
    return Shape(
        instance_type=f"{chip}.{count}x",
        region=region,
        gpu_model=model,
        gpu_count=count,
        gpu_memory_gib=gpu_memory_gib,
        cpus=cpus * count,
        memory_gib=memory_gib * count,
        price_usd_per_hour=price,
        spot_price_usd_per_hour=None if spot is None else round(price * spot, 4),
        capacity=capacity,
        fabric_domain=None if chip == "l40s" else f"{cloud}/{region}/{chip}",
    )


def _cpus(region: str, cpus: int, usd_per_hour: float, capacity: int) -> Shape:
    return Shape(f"cpu.{cpus}x", region, None, 0, 0.0, cpus, 4.0 * cpus, usd_per_hour, None, capacity)


def _aurora() -> CloudSpec:
    name, north, east = "sim-aurora", "eu-north", "us-east"
    shapes = (
        _gpus(name, north, "h100", 1, 2.19, 4),
        _gpus(name, north, "h100", 2, 2.19, 2),
        _gpus(name, north, "h100", 8, 2.29, 2),
        _gpus(name, east, "h100", 8, 2.49, 4),
        _gpus(name, east, "a100", 1, 1.39, 6),
        _gpus(name, east, "a100", 8, 1.39, 4),
        _gpus(name, north, "l40s", 1, 0.89, 8),
        _cpus(north, 16, 0.42, 8),
    )
    return CloudSpec(name, 1, shapes)


def _borealis() -> CloudSpec:
    name, central, west = "sim-borealis", "us-central", "eu-west"
    shapes = (
        _gpus(name, central, "h100", 1, 2.45, 8),
        _gpus(name, central, "h100", 2, 2.45, 4),
        _gpus(name, central, "h100", 4, 2.45, 4),
        _gpus(name, central, "h100", 8, 2.39, 4),
        _gpus(name, west, "h200", 8, 2.99, 2, spot=0.6),
        _gpus(name, west, "a100", 8, 1.59, 4),
        _gpus(name, central, "l40s", 1, 1.09, 6),
        _cpus(central, 32, 0.95, 8),
    )
    return CloudSpec(name, 2, shapes)


def _cascade() -> CloudSpec:
    name, west = "sim-cascade", "us-west"
    shapes = (
        _gpus(name, west, "h100", 1, 2.99, 16, spot=0.4),
        _gpus(name, west, "h100", 4, 2.99, 8, spot=0.4),
        _gpus(name, west, "h100", 8, 2.99, 8, spot=0.4),
        _gpus(name, west, "h200", 8, 3.49, 4, spot=None),
        _gpus(name, west, "a100", 1, 1.79, 8),
        _gpus(name, west, "l40s", 4, 1.39, 4),
    )
    return CloudSpec(name, 3, shapes)


BUILT_IN: dict[str, CloudSpec] = {spec.name: spec for spec in (_aurora(), _borealis(), _cascade())}
"""By name. The cheapest on-demand H100:1 lives in sim-aurora (4 of them), the next in sim-borealis."""
