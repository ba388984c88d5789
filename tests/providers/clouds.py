"""A small simulated cloud on a manual clock, with machines on paper."""

import random
from typing import Any

from godwit.domain.clock import ManualClock
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings

SMALL = Shape("h100.1x", "eu", "H100-SXM", 1, 80.0, 26, 225.0, 3.6, 1.8, capacity=2, fabric_domain="f")
LARGE = Shape("h100.8x", "eu", "H100-SXM", 8, 80.0, 208, 1800.0, 28.8, None, capacity=1)


def make(**changes: Any) -> tuple[Cloud, ManualClock, PaperMachines]:
    """A cloud that boots in 0.2 s; `changes` go to its settings."""
    clock, machines = ManualClock(), PaperMachines()
    options: dict[str, Any] = {"shapes": (SMALL, LARGE), "boot_s": (0.2, 0.2)} | changes
    return Cloud(CloudSettings("sim", 1, "127.16.1", **options), clock, random.Random(1), machines), clock, machines


def order(token: str = "t", shape: Shape = SMALL, *, spot: bool = False, **changes: Any) -> dict[str, Any]:
    """A launch, as the cloud's API takes it."""
    place = {"instance_type": shape.instance_type, "region": shape.region, "zone": shape.zone}
    return {"client_token": token, **place, "spot": spot, "tags": {}, "user_data": "true"} | changes
