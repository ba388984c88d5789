"""The state of one simulated cloud: it sells, boots, bills, ends and misbehaves. Pure but for its `Machines`.

Answers are the JSON of the cloud's own API, so that the HTTP server and the in-process provider show the same.
Refusals are raised as `vendor.Refused`. Not safe for several threads at once: the owner takes turns.
"""

import random
from collections.abc import Sequence
from typing import Any

from godwit.domain.clock import Clock
from godwit.domain.drills import Drill
from godwit.domain.wire.agents import GpuFact
from godwit.providers.machines import Machine, Machines
from godwit.providers.simulated import sales
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.faults import Faults
from godwit.providers.simulated.rentals import Phase, Rental, rental_from_json
from godwit.providers.simulated.sales import CloudSettings
from godwit.providers.simulated.vendor import Refused

PAGE_LIMIT = 100


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
        rows = [(shape, spot) for shape in self.settings.shapes for spot in (False, True) if sales.is_sold(shape, spot)]
        return [sales.offer_view(shape, spot, self._rentals.values()) for shape, spot in rows]

    def launch(self, order: dict[str, Any]) -> dict[str, Any]:
        """Sell one machine. The same client token always answers the same machine."""
        self._enter()
        known = next((r for r in self._rentals.values() if r.token == order["client_token"]), None)
        if known is not None:
            return self._repeated(known, order)
        shape = sales.shape_of(self.settings, order)
        self._refuse_on_purpose(shape)
        sales.check_room(self.settings, shape, self._rentals.values())
        number = sales.free_number(self._serial + 1, self._rentals.values())
        boot_s = self._rng.uniform(*self.settings.boot_s)
        now = self._clock.now()
        rental = sales.sell(
            shape, order, self._serial + 1, number, now, boot_s, self._rng, self.settings.billing_step_s
        )
        self._serial = rental.serial
        self._rentals[rental.id] = rental
        self.changes += 1
        return self._view(rental, now)

    def instances(self, cursor: str | None = None, limit: int | None = None) -> dict[str, Any]:
        """One page of the account's machines, oldest first, those that ended lately included."""
        self._enter()
        seen_at = self._clock.now() - self.faults.list_lag_s
        after = _parse_cursor(cursor)
        size = max(1, min(limit or self.settings.page_limit, PAGE_LIMIT))
        listed = [r for r in self._rentals.values() if r.serial > after and self._is_listed(r, seen_at)]
        page = listed[:size]
        return {
            "instances": [self._view(rental, seen_at) for rental in page],
            "next_cursor": str(page[-1].serial) if len(listed) > size else None,
        }

    def instance(self, instance_id: str) -> dict[str, Any]:
        """One machine."""
        self._enter()
        return self._view(self._find(instance_id), self._clock.now())

    def terminate(self, instance_id: str) -> dict[str, Any]:
        """End a machine; one that has ended stays as it is."""
        self._enter()
        return self.end(instance_id)

    def billing(self) -> dict[str, Any]:
        """Every meter, and the sum in dollars, forgotten machines included."""
        self._enter()
        now = self._clock.now()
        meters = [
            {"id": r.id, "seconds": r.billed_s(now), "usd": r.billed_usd(now), "running": r.billed_until is None}
            for r in self._rentals.values()
        ]
        usd = sum(rental.billed_usd(now) for rental in self._rentals.values())
        return {"meters": meters, "total_usd": self._forgotten_usd + usd}

    def notices(self) -> list[dict[str, Any]]:
        """The spot machines that will be taken back, and when."""
        self._enter()
        return [
            {"id": r.id, "noticed_at": r.noticed_at, "taken_at": r.taken_at}
            for r in self._rentals.values()
            if r.live and r.taken_at is not None
        ]

    # The fault panel.

    def drill(self, instance_id: str, kind: Drill, gpu: int | None = None) -> None:
        """Break a machine, or one GPU of it."""
        if kind is Drill.NODE_LOSS:
            self.lose(instance_id)
            return
        if kind is Drill.SPOT_NOTICE:
            self.give_notice(instance_id, self.settings.notice_s)
            return
        self.tick()
        rental = self._find(instance_id)
        if not rental.powered:
            raise Refused(409, "not_running", f"{instance_id} is not running; what is off cannot break")
        if gpu is not None and gpu >= len(rental.gpus):
            raise Refused(404, "no_such_gpu", f"{instance_id} has {len(rental.gpus)} GPUs, none with index {gpu}")
        self._machines.drill(rental.id, kind, gpu)

    def lose(self, instance_id: str) -> None:
        """Cut a machine's power; the listing goes on as if nothing had happened for `report_after_s`."""
        self.tick()
        rental = self._find(instance_id)
        if rental.powered:
            now = self._clock.now()
            rental.lose_power(now, Phase.FAILED, now + self.settings.report_after_s, "lost")
            self._machines.cut(rental.id)
            self.changes += 1

    def give_notice(self, instance_id: str, after_s: float) -> None:
        """Announce that a spot machine is taken back in `after_s`."""
        self.tick()
        rental = self._find(instance_id)
        if not rental.spot:
            raise Refused(400, "not_spot", f"{instance_id} was sold on demand; only spot machines are taken back")
        if rental.powered:
            rental.noticed_at = self._clock.now()
            rental.taken_at = rental.noticed_at + after_s
            self._machines.warn(rental.id, after_s)
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

    def end(self, instance_id: str) -> dict[str, Any]:
        """`terminate`, whatever the fault panel says: for the one who shuts the whole simulation down."""
        rental = self._find(instance_id)
        now = self._clock.now()
        if rental.live and rental.phase is not Phase.STOPPING:
            rental.stop(now, due=now + self.settings.stop_s)
            self._machines.stop(rental.id)
            self.changes += 1
        elif rental.phase is Phase.FAILED:
            rental.clear_away(now)
            self.changes += 1
        return self._view(rental, now)

    # Time.

    def tick(self) -> None:
        """Do everything that is due."""
        now = self._clock.now()
        for rental in self._rentals.values():
            before = rental.phase
            self._step(rental, now)
            self.changes += rental.phase is not before
        self._forget(now)

    def _step(self, rental: Rental, now: float) -> None:
        if rental.phase is Phase.PROVISIONING and now >= rental.due:
            self._boot(rental)
        if rental.phase is Phase.RUNNING and self._is_down(rental.id):
            rental.lose_power(now, Phase.FAILED, now, "crashed")
            self._machines.cut(rental.id)
        if rental.powered and rental.taken_at is not None and now >= rental.taken_at:
            rental.lose_power(rental.taken_at, Phase.TERMINATED, rental.taken_at, "taken back")
            self._machines.stop(rental.id)
        if rental.live and not rental.powered and now >= rental.due and self._machines.is_gone(rental.id):
            rental.end(now)

    def _is_down(self, instance_id: str) -> bool:
        """Gone without our doing counts too: we may have died right after cutting it, before noting that we did."""
        return self._machines.has_crashed(instance_id) or self._machines.is_gone(instance_id)

    def _boot(self, rental: Rental) -> None:
        gpus = tuple(GpuFact.model_validate(gpu) for gpu in rental.gpus)
        slot = f"{self.settings.index}-{rental.number}"
        address = f"{self.settings.network}.{rental.number}"
        try:
            self._machines.boot(Machine(rental.id, slot, address, rental.user_data, gpus))
        except OSError as exc:
            rental.lose_power(rental.due, Phase.FAILED, rental.due, f"did not boot: {exc}")
            self._machines.cut(rental.id)
        else:
            rental.run()

    def _forget(self, now: float) -> None:
        ended = [rental for rental in self._rentals.values() if rental.ended_at is not None]
        surplus = len(ended) - self.settings.known_max
        for place, rental in enumerate(ended):
            if place < surplus or (rental.ended_at or now) < now - self.settings.known_s:
                self._forgotten_usd += rental.billed_usd(now)
                del self._rentals[rental.id]
                self.changes += 1

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

    # How it is done.

    def _enter(self) -> None:
        self.tick()
        if self.faults.unavailable:
            raise Refused(503, "unavailable", f"{self.settings.name} is unavailable")
        if self.strike("rate_limit"):
            raise Refused(429, "too_many_requests", f"{self.settings.name} asks for fewer calls", retry_after_s=1.0)

    def _repeated(self, known: Rental, order: dict[str, Any]) -> dict[str, Any]:
        if (*known.place, known.spot) != (order["instance_type"], order["region"], order["zone"], order["spot"]):
            raise Refused(422, "token_mismatch", "this client token was used for a different launch")
        return self._view(known, self._clock.now())

    def _refuse_on_purpose(self, shape: Shape) -> None:
        if self.strike("fail_launches"):
            raise Refused(503, "unavailable", "the launch failed before anything was created")
        key = self.faults.refuses(shape.instance_type)
        if key is not None:
            self.set_faults(self.faults.after_refusal(key))
            raise sales.no_capacity(shape)

    def _is_listed(self, rental: Rental, seen_at: float) -> bool:
        forgotten = rental.ended_at is not None and rental.ended_at + self.settings.listed_s < seen_at
        return rental.word_at(seen_at) is not None and not forgotten

    def _view(self, rental: Rental, seen_at: float) -> dict[str, Any]:
        return sales.rental_view(rental, self.settings.network, seen_at, self.faults.state_word)

    def _find(self, instance_id: str) -> Rental:
        rental = self._rentals.get(instance_id)
        if rental is None:
            raise Refused(404, "no_such_instance", f"there is no instance {instance_id}")
        return rental


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdecimal():
        raise Refused(400, "bad_cursor", "this cursor was not given out by this cloud")
    return int(cursor)
