"""The state of one simulated cloud: it sells, boots, bills, ends and misbehaves. Pure but for its `Machines`.

Answers are the JSON of the cloud's own API, so that the HTTP server and the in-process provider show the same.
Refusals are raised as `vendor.Refused`. Not safe for several threads at once: the owner takes turns.
"""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from godwit.domain.clock import Clock
from godwit.domain.wire.agents import GpuFact
from godwit.providers.machines import Machine, Machines
from godwit.providers.simulated import vendor
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.faults import Faults
from godwit.providers.simulated.rentals import Phase, Rental, rental_from_json
from godwit.providers.simulated.vendor import Refused

PAGE_LIMIT = 100
SLOTS = 250
"""Addresses of one cloud's network: 127.x.y.1 to 127.x.y.250."""


@dataclass(frozen=True)
class CloudSettings:
    """How one cloud behaves. Machines boot after `boot_s` (from, to) and, once stopped, are gone after `stop_s` at
    the soonest. A lost machine is listed as running for `report_after_s` more. Ended ones are listed for `listed_s`
    and known for `known_s` (their launch tokens too). `quota_gpus` bounds the GPUs rented at once.
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
    quota_gpus: int | None = None
    page_limit: int = 50


class Cloud:
    """One simulated cloud. `rng` makes ids and boot times; `changes` grows whenever its state does."""

    def __init__(self, settings: CloudSettings, clock: Clock, rng: random.Random, machines: Machines) -> None:
        self.settings = settings
        self.faults = Faults()
        self.changes = 0
        self._clock = clock
        self._rng = rng
        self._machines = machines
        self._rentals: dict[str, Rental] = {}
        self._serial = 0
        self._forgotten_usd = 0.0

    # What the cloud's API offers.

    def offers(self) -> list[dict[str, Any]]:
        """Everything for sale: each shape on demand and, where sold so, as spot."""
        self._enter()
        return [
            self._offer(shape, spot) for shape in self.settings.shapes for spot in (False, True) if _sells(shape, spot)
        ]

    def launch(self, order: dict[str, Any]) -> dict[str, Any]:
        """Sell one machine. The same client token always answers the same machine."""
        self._enter()
        known = next((r for r in self._rentals.values() if r.token == order["client_token"]), None)
        if known is not None:
            return self._repeated(known, order)
        shape = self._shape_of(order)
        self._refuse_on_purpose(shape)
        self._check_room(shape)
        rental = self._sell(shape, order)
        return self._view(rental, self._clock.now())

    def instances(self, cursor: str | None = None, limit: int | None = None) -> dict[str, Any]:
        """One page of the account's machines, oldest first, those that ended lately included."""
        self._enter()
        now = self._clock.now()
        seen_at = now - self.faults.list_lag_s
        after = _parse_cursor(cursor)
        size = max(1, min(limit or self.settings.page_limit, PAGE_LIMIT))
        listed = [r for r in self._rentals.values() if r.serial > after and self._is_listed(r, seen_at)]
        page = listed[:size]
        more = len(listed) > size
        return {
            "instances": [self._view(rental, seen_at) for rental in page],
            "next_cursor": str(page[-1].serial) if more else None,
        }

    def instance(self, instance_id: str) -> dict[str, Any]:
        """One machine."""
        self._enter()
        return self._view(self._find(instance_id), self._clock.now())

    def terminate(self, instance_id: str) -> dict[str, Any]:
        """End a machine; one that has ended stays as it is."""
        self._enter()
        return self.end(instance_id)

    def end(self, instance_id: str) -> dict[str, Any]:
        """The same, whatever the fault panel says: for the one who shuts the whole simulation down."""
        rental = self._find(instance_id)
        if rental.live and rental.phase is not Phase.STOPPING:
            now = self._clock.now()
            self._stop_meter(rental, now)
            self._turn(rental, Phase.STOPPING, due=now + self.settings.stop_s, then=Phase.TERMINATED)
            rental.show(Phase.STOPPING, now)
            self._machines.stop(rental.id)
        return self._view(rental, self._clock.now())

    def billing(self) -> dict[str, Any]:
        """Every meter, and the sum in dollars, forgotten machines included."""
        self._enter()
        now = self._clock.now()
        meters = [
            {"id": r.id, "seconds": r.billed_s(now), "usd": r.billed_usd(now), "running": r.billed_until is None}
            for r in self._rentals.values()
        ]
        return {
            "meters": meters,
            "total_usd": self._forgotten_usd + sum(r.billed_usd(now) for r in self._rentals.values()),
        }

    def notices(self) -> list[dict[str, Any]]:
        """The spot machines that will be taken back, and when."""
        self._enter()
        return [
            {"id": r.id, "noticed_at": r.noticed_at, "taken_at": r.taken_at}
            for r in self._rentals.values()
            if r.live and r.taken_at is not None
        ]

    # The fault panel.

    def lose(self, instance_id: str) -> None:
        """Cut a machine's power; the listing goes on as if nothing had happened for `report_after_s`."""
        self.tick()
        rental = self._find(instance_id)
        if rental.phase in (Phase.PROVISIONING, Phase.RUNNING):
            now = self._clock.now()
            self._power_off(rental, now, Phase.FAILED, now + self.settings.report_after_s, "lost")
            self._machines.cut(rental.id)

    def give_notice(self, instance_id: str, after_s: float) -> None:
        """Announce that a spot machine is taken back in `after_s`."""
        self.tick()
        rental = self._find(instance_id)
        if not rental.spot:
            raise Refused(400, "not_spot", f"{instance_id} was sold on demand; only spot machines are taken back")
        if rental.phase in (Phase.PROVISIONING, Phase.RUNNING):
            rental.noticed_at = self._clock.now()
            rental.taken_at = rental.noticed_at + after_s
            self.changes += 1

    def set_faults(self, faults: Faults) -> None:
        """From now on, this and only this goes wrong."""
        self.faults = faults
        self.changes += 1

    def strike(self, counter: str) -> bool:
        """Whether the fault counted by `counter` strikes now; uses one strike up."""
        if getattr(self.faults, counter) <= 0:
            return False
        self.set_faults(self.faults.after(counter))
        return True

    # Time.

    def tick(self) -> None:
        """Do everything that is due."""
        now = self._clock.now()
        for rental in self._rentals.values():
            if rental.phase is Phase.PROVISIONING and now >= rental.due:
                self._boot(rental)
            if rental.phase is Phase.RUNNING and self._machines.has_crashed(rental.id):
                self._power_off(rental, now, Phase.FAILED, now, "crashed")
                self._machines.cut(rental.id)
            if rental.taken_at is not None and now >= rental.taken_at:
                self._take_back(rental, rental.taken_at)
            if rental.phase in (Phase.STOPPING, Phase.POWERLESS) and now >= rental.due:
                self._end_if_gone(rental, now)
        self._forget(now)

    def next_due(self) -> float | None:
        """The next instant at which `tick` has something to do; None while nothing is under way."""
        moments = [r.due for r in self._rentals.values() if r.live and r.phase is not Phase.RUNNING]
        moments += [r.taken_at for r in self._rentals.values() if r.phase is Phase.RUNNING and r.taken_at is not None]
        return min(moments, default=None)

    def running(self) -> Sequence[str]:
        """The ids of the machines that are up: the ones whose processes somebody should watch."""
        return [r.id for r in self._rentals.values() if r.phase is Phase.RUNNING]

    def live(self) -> Sequence[str]:
        """The ids of all machines that have not ended."""
        return [r.id for r in self._rentals.values() if r.live]

    # State.

    def to_json(self) -> dict[str, Any]:
        """All that must survive a restart; private, as it holds the startup scripts of machines yet to boot."""
        return {
            "serial": self._serial,
            "forgotten_usd": self._forgotten_usd,
            "faults": self.faults.model_dump(),
            "rentals": [rental.to_json() for rental in self._rentals.values()],
        }

    def load(self, data: dict[str, Any]) -> None:
        """Take over a stored state."""
        self._serial = data["serial"]
        self._forgotten_usd = data["forgotten_usd"]
        self.faults = Faults.model_validate(data["faults"])
        self._rentals = {rental["id"]: rental_from_json(rental) for rental in data["rentals"]}

    def address(self, instance_id: str) -> str:
        """The machine's address."""
        return f"{self.settings.network}.{self._find(instance_id).number}"

    # How it is done.

    def _enter(self) -> None:
        self.tick()
        if self.faults.unavailable:
            raise Refused(503, "unavailable", f"{self.settings.name} is unavailable")
        if self.strike("rate_limit"):
            raise Refused(429, "too_many_requests", f"{self.settings.name} asks for fewer calls", retry_after_s=1.0)

    def _repeated(self, known: Rental, order: dict[str, Any]) -> dict[str, Any]:
        wanted = (order["instance_type"], order["region"], order["spot"])
        if (known.instance_type, known.region, known.spot) != wanted:
            raise Refused(422, "token_mismatch", "this client token was used for a different launch")
        return self._view(known, self._clock.now())

    def _shape_of(self, order: dict[str, Any]) -> Shape:
        if len(order["user_data"].encode()) > vendor.STARTUP_LIMIT_BYTES:
            raise Refused(400, "user_data_too_long", f"user_data exceeds {vendor.STARTUP_LIMIT_BYTES} bytes")
        for shape in self.settings.shapes:
            place = (shape.instance_type, shape.region, shape.zone)
            if place == (order["instance_type"], order["region"], order["zone"]) and _sells(shape, order["spot"]):
                return shape
        raise Refused(404, "no_such_type", f"{order['instance_type']} is not sold in {order['region']} that way")

    def _refuse_on_purpose(self, shape: Shape) -> None:
        if self.strike("fail_launches"):
            raise Refused(503, "unavailable", "the launch failed before anything was created")
        key = self.faults.refuses(shape.instance_type)
        if key is not None:
            self.set_faults(self.faults.after_refusal(key))
            raise Refused(409, "no_capacity", f"no capacity for {shape.instance_type} in {shape.region}")

    def _check_room(self, shape: Shape) -> None:
        if self._available(shape) <= 0:
            raise Refused(409, "no_capacity", f"no capacity for {shape.instance_type} in {shape.region}")
        quota, rented = self.settings.quota_gpus, sum(r.gpu_count for r in self._rentals.values() if r.live)
        if quota is not None and rented + shape.gpu_count > quota:
            raise Refused(403, "quota_exceeded", f"the quota of {quota} GPUs does not allow {shape.gpu_count} more")

    def _sell(self, shape: Shape, order: dict[str, Any]) -> Rental:
        now = self._clock.now()
        self._serial += 1
        price = shape.spot_price_usd_per_hour if order["spot"] else shape.price_usd_per_hour
        rental = Rental(
            serial=self._serial,
            id=f"i-{self._rng.getrandbits(40):010x}",
            token=order["client_token"],
            instance_type=shape.instance_type,
            region=shape.region,
            zone=shape.zone,
            spot=order["spot"],
            price_usd_per_hour=price if price is not None else shape.price_usd_per_hour,
            gpu_count=shape.gpu_count,
            tags=dict(order["tags"]),
            user_data=order["user_data"],
            number=self._free_number(),
            created_at=now,
            due=now + self._rng.uniform(*self.settings.boot_s),
            gpus=[self._gpu(shape, index) for index in range(shape.gpu_count)],
        )
        rental.show(Phase.PROVISIONING, now)
        self._rentals[rental.id] = rental
        self.changes += 1
        return rental

    def _gpu(self, shape: Shape, index: int) -> dict[str, Any]:
        name = uuid.UUID(int=self._rng.getrandbits(128), version=4)
        assert shape.gpu_model is not None, "a shape with GPUs names their model"
        fact = GpuFact(index=index, uuid=f"GPU-{name}", model=shape.gpu_model, memory_gib=shape.gpu_memory_gib)
        return fact.model_dump()

    def _free_number(self) -> int:
        taken = {r.number for r in self._rentals.values() if r.live}
        order = (1 + (self._serial - 1 + step) % SLOTS for step in range(SLOTS))  # not at once the one just freed
        number = next((number for number in order if number not in taken), None)
        if number is None:
            raise Refused(409, "no_capacity", "all addresses of this network are taken")
        return number

    def _boot(self, rental: Rental) -> None:
        gpus = tuple(GpuFact.model_validate(gpu) for gpu in rental.gpus)
        slot = f"{self.settings.index}-{rental.number}"
        address = f"{self.settings.network}.{rental.number}"
        try:
            self._machines.boot(Machine(rental.id, slot, address, rental.user_data, gpus))
        except OSError as exc:
            self._power_off(rental, rental.due, Phase.FAILED, rental.due, f"did not boot: {exc}")
            self._machines.cut(rental.id)
            return
        rental.user_data = ""  # holds a join token: not kept longer than needed
        self._turn(rental, Phase.RUNNING, due=rental.due, then=Phase.TERMINATED)
        rental.show(Phase.RUNNING, rental.due)

    def _take_back(self, rental: Rental, at: float) -> None:
        if rental.phase in (Phase.PROVISIONING, Phase.RUNNING):
            self._power_off(rental, at, Phase.TERMINATED, at, "taken back")
            self._machines.stop(rental.id)

    def _power_off(self, rental: Rental, at: float, then: Phase, due: float, detail: str) -> None:
        self._stop_meter(rental, at)
        self._turn(rental, Phase.POWERLESS, due=due, then=then)
        rental.detail = detail

    def _end_if_gone(self, rental: Rental, now: float) -> None:
        if not self._machines.is_gone(rental.id):
            return
        rental.ended_at = now
        rental.user_data = ""
        self._turn(rental, rental.then, due=rental.due, then=rental.then)
        rental.show(rental.phase, now)

    def _turn(self, rental: Rental, phase: Phase, due: float, then: Phase) -> None:
        rental.phase, rental.due, rental.then = phase, due, then
        self.changes += 1

    def _stop_meter(self, rental: Rental, at: float) -> None:
        if rental.billed_until is None:
            rental.billed_until = at

    def _forget(self, now: float) -> None:
        horizon = now - self.settings.known_s
        for rental in [r for r in self._rentals.values() if r.ended_at is not None and r.ended_at < horizon]:
            self._forgotten_usd += rental.billed_usd(now)
            del self._rentals[rental.id]
            self.changes += 1

    def _available(self, shape: Shape) -> int:
        place = (shape.instance_type, shape.region, shape.zone)
        live = [r for r in self._rentals.values() if r.live and (r.instance_type, r.region, r.zone) == place]
        return shape.capacity - len(live)

    def _offer(self, shape: Shape, spot: bool) -> dict[str, Any]:
        return {
            "instance_type": shape.instance_type,
            "region": shape.region,
            "zone": shape.zone,
            "gpu_model": shape.gpu_model,
            "gpu_count": shape.gpu_count,
            "gpu_memory_gib": shape.gpu_memory_gib,
            "cpus": shape.cpus,
            "memory_gib": shape.memory_gib,
            "price_usd_per_hour": shape.spot_price_usd_per_hour if spot else shape.price_usd_per_hour,
            "spot": spot,
            "available": self._available(shape),
            "fabric_domain": shape.fabric_domain,
        }

    def _is_listed(self, rental: Rental, seen_at: float) -> bool:
        forgotten = rental.ended_at is not None and rental.ended_at + self.settings.listed_s < seen_at
        return rental.word_at(seen_at) is not None and not forgotten

    def _view(self, rental: Rental, seen_at: float) -> dict[str, Any]:
        word = rental.word_at(seen_at) or rental.shown[-1][1]
        if word == Phase.RUNNING and self.faults.state_word:
            word = self.faults.state_word
        return {
            "id": rental.id,
            "state": word,
            "detail": rental.detail if not rental.live else "",
            "instance_type": rental.instance_type,
            "region": rental.region,
            "zone": rental.zone,
            "spot": rental.spot,
            "price_usd_per_hour": rental.price_usd_per_hour,
            "tags": rental.tags,
            "address": f"{self.settings.network}.{rental.number}",
            "created_at": rental.created_at,
            "notice_at": rental.taken_at,
        }

    def _find(self, instance_id: str) -> Rental:
        rental = self._rentals.get(instance_id)
        if rental is None:
            raise Refused(404, "no_such_instance", f"there is no instance {instance_id}")
        return rental


def _sells(shape: Shape, spot: bool) -> bool:
    return not spot or shape.spot_price_usd_per_hour is not None


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal():
        raise Refused(400, "bad_cursor", "this cursor was not given out by this cloud")
    return int(cursor)
