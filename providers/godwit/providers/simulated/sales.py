"""What a simulated cloud sells, and whether it can sell one more. Pure, given the rentals it already has."""

import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from godwit.domain.wire.agents import GpuFact
from godwit.providers.simulated import vendor
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.rentals import Phase, Rental
from godwit.providers.simulated.vendor import Refused

_OFF_THE_METER = frozenset({Phase.STOPPING, Phase.TERMINATED, Phase.FAILED})

SLOTS = 250
"""Addresses of one cloud's network: 127.x.y.1 to 127.x.y.250."""


@dataclass(frozen=True)
class CloudSettings:
    """How one cloud behaves. `network` is the first three parts of its machines' addresses, `index` part of paths.

    Machines boot after `boot_s` (from, to) and, once stopped, are gone after `stop_s` at the soonest. A lost machine
    is listed as running for `report_after_s` more. Ended ones are listed for `listed_s`, and known (their launch
    tokens too) for `known_s`, at most `known_max` of them. `quota_gpus` bounds the GPUs rented at once.
    In a drill, spot machines are taken back after `notice_s`, as on EC2. Begun units of `billing_step_s` are billed.
    """

    name: str
    index: int
    network: str
    shapes: tuple[Shape, ...]
    boot_s: tuple[float, float] = (0.2, 0.5)
    stop_s: float = 0.1
    report_after_s: float = 5.0
    listed_s: float = 300.0
    known_s: float = 86_400.0
    known_max: int = 1_000
    quota_gpus: int | None = None
    page_limit: int = 50
    notice_s: float = 120.0
    billing_step_s: float = 1.0


def is_sold(shape: Shape, spot: bool) -> bool:
    """Whether the shape is sold that way at all."""
    return not spot or shape.spot_price_usd_per_hour is not None


def price_usd_per_hour(shape: Shape, spot: bool) -> float:
    """What one costs."""
    if spot and shape.spot_price_usd_per_hour is not None:
        return shape.spot_price_usd_per_hour
    return shape.price_usd_per_hour


def available(shape: Shape, rentals: Iterable[Rental]) -> int:
    """How many more can be had."""
    place = (shape.instance_type, shape.region, shape.zone)
    return shape.capacity - sum(1 for rental in rentals if rental.live and rental.place == place)


def shape_of(settings: CloudSettings, order: dict[str, Any]) -> Shape:
    """The shape that an order asks for. Refused when it is not sold, or the order itself is wrong."""
    if len(order["user_data"].encode()) > vendor.STARTUP_LIMIT_BYTES:
        raise Refused(400, "user_data_too_long", f"user_data exceeds {vendor.STARTUP_LIMIT_BYTES} bytes")
    wanted = (order["instance_type"], order["region"], order["zone"])
    for shape in settings.shapes:
        if (shape.instance_type, shape.region, shape.zone) == wanted and is_sold(shape, order["spot"]):
            return shape
    raise Refused(404, "no_such_type", f"{order['instance_type']} is not sold in {order['region']} that way")


def check_room(settings: CloudSettings, shape: Shape, rentals: Iterable[Rental]) -> None:
    """Refused when capacity or quota do not allow one more."""
    live = [rental for rental in rentals if rental.live]
    if available(shape, live) <= 0:
        raise no_capacity(shape)
    rented = sum(rental.gpu_count for rental in live)
    if settings.quota_gpus is not None and rented + shape.gpu_count > settings.quota_gpus:
        raise Refused(
            403, "quota_exceeded", f"the quota of {settings.quota_gpus} GPUs leaves no {shape.gpu_count} more"
        )


def no_capacity(shape: Shape) -> Refused:
    """What the cloud says when it is sold out."""
    return Refused(409, "no_capacity", f"no capacity for {shape.instance_type} in {shape.region}")


def free_number(serial: int, rentals: Iterable[Rental]) -> int:
    """The address of machine `serial`: going round, so that one just freed is not given out at once."""
    taken = {rental.number for rental in rentals if rental.live}
    order = (1 + (serial - 1 + step) % SLOTS for step in range(SLOTS))
    number = next((number for number in order if number not in taken), None)
    if number is None:
        raise Refused(409, "no_capacity", "all addresses of this network are taken")
    return number


def sell(
    shape: Shape,
    order: dict[str, Any],
    serial: int,
    number: int,
    now: float,
    boot_s: float,
    rng: random.Random,
    billing_step_s: float = 1.0,
) -> Rental:
    """The rental that an order becomes; it boots in `boot_s`."""
    rental = Rental(
        serial=serial,
        id=f"i-{serial:04x}{rng.getrandbits(32):08x}",
        token=order["client_token"],
        instance_type=shape.instance_type,
        region=shape.region,
        zone=shape.zone,
        spot=order["spot"],
        price_usd_per_hour=price_usd_per_hour(shape, order["spot"]),
        gpu_count=shape.gpu_count,
        tags=dict(order["tags"]),
        user_data=order["user_data"],
        number=number,
        created_at=now,
        due=now + boot_s,
        gpus=[_gpu(shape, index, rng) for index in range(shape.gpu_count)],
        billing_step_s=billing_step_s,
    )
    rental.show(Phase.PROVISIONING, now)
    return rental


def _gpu(shape: Shape, index: int, rng: random.Random) -> dict[str, Any]:
    assert shape.gpu_model is not None, "a shape with GPUs names their model"
    name = uuid.UUID(int=rng.getrandbits(128), version=4)
    fact = GpuFact(index=index, uuid=f"GPU-{name}", model=shape.gpu_model, memory_gib=shape.gpu_memory_gib)
    return fact.model_dump()


def offer_view(shape: Shape, spot: bool, rentals: Iterable[Rental]) -> dict[str, Any]:
    """An offer as the API shows it."""
    return {
        "instance_type": shape.instance_type,
        "region": shape.region,
        "zone": shape.zone,
        "gpu_model": shape.gpu_model,
        "gpu_count": shape.gpu_count,
        "gpu_memory_gib": shape.gpu_memory_gib,
        "cpus": shape.cpus,
        "memory_gib": shape.memory_gib,
        "price_usd_per_hour": price_usd_per_hour(shape, spot),
        "spot": spot,
        "available": available(shape, rentals),
        "fabric_domain": shape.fabric_domain,
    }


def rental_view(rental: Rental, network: str, seen_at: float, state_word: str | None) -> dict[str, Any]:
    """A machine as a listing of `seen_at` shows it; `state_word` replaces "running" (a fault)."""
    word = rental.word_at(seen_at) or rental.shown[-1][1]
    return {
        "id": rental.id,
        "state": state_word if state_word and word == Phase.RUNNING else word,
        "detail": "" if rental.live else rental.detail,
        "instance_type": rental.instance_type,
        "region": rental.region,
        "zone": rental.zone,
        "spot": rental.spot,
        "price_usd_per_hour": rental.price_usd_per_hour,
        "tags": rental.tags,
        "address": f"{network}.{rental.number}",
        "created_at": rental.created_at,
        "taken_at": rental.taken_at,
        "billed_until": rental.billed_until if word in _OFF_THE_METER else None,
    }
