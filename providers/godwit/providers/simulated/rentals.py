"""A rental: one machine that a simulated cloud has sold, from the launch until it is forgotten."""

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """Where a rental is. All but POWERLESS are also the words that the cloud's API uses.

        provisioning ──▶ running ──▶ stopping ──▶ terminated
              │             ├──────▶ powerless ──▶ failed       lost, crashed; reported late
              └─────────────┴──────▶ powerless ──▶ terminated   taken back after a spot notice

    A failed one that its owner terminates is terminated.
    `POWERLESS` never shows: the listing goes on with the word it had before.
    """

    PROVISIONING = "provisioning"
    RUNNING = "running"
    STOPPING = "stopping"
    TERMINATED = "terminated"
    FAILED = "failed"
    POWERLESS = "powerless"


@dataclass
class Rental:
    """What the cloud knows of one machine.

    `due` is when the present phase may end, `then` what it ends in. `shown` is the history of the words that
    listings show, each with the instant from which they do. `billed_until` is None while the meter runs, which counts
    begun units of `billing_step_s` whole; `taken_at` is when a spot machine will be taken back.
    """

    serial: int
    id: str
    token: str
    instance_type: str
    region: str
    zone: str | None
    spot: bool
    price_usd_per_hour: float
    gpu_count: int
    tags: dict[str, str]
    user_data: str
    number: int
    created_at: float
    due: float
    phase: Phase = Phase.PROVISIONING
    then: Phase = Phase.TERMINATED
    detail: str = ""
    shown: list[tuple[float, str]] = field(default_factory=list)
    noticed_at: float | None = None
    taken_at: float | None = None
    billed_until: float | None = None
    ended_at: float | None = None
    gpus: list[dict[str, Any]] = field(default_factory=list)
    billing_step_s: float = 1.0

    @property
    def live(self) -> bool:
        """Whether it still takes up capacity."""
        return self.phase not in (Phase.TERMINATED, Phase.FAILED)

    @property
    def powered(self) -> bool:
        """Whether it boots or runs, undisturbed."""
        return self.phase in (Phase.PROVISIONING, Phase.RUNNING)

    @property
    def place(self) -> tuple[str, str, str | None]:
        """What it is and where: type, region, zone."""
        return (self.instance_type, self.region, self.zone)

    def show(self, word: str, at: float) -> None:
        """From `at` on, listings call it `word`."""
        self.shown.append((at, word))

    def word_at(self, at: float) -> str | None:
        """What a listing that is as old as `at` calls it; None when that one does not have it yet."""
        words = [word for since, word in self.shown if since <= at]
        return words[-1] if words else None

    def run(self) -> None:
        """It has booted. The startup script, which holds a join token, is not kept longer than needed."""
        self.phase = Phase.RUNNING
        self.user_data = ""
        self.show(self.phase, self.due)

    def stop(self, at: float, due: float) -> None:
        """Its end was asked for: the meter stops, and it is terminated from `due` on, once its processes are gone."""
        self._stop_meter(at)
        self.phase, self.then, self.due = Phase.STOPPING, Phase.TERMINATED, due
        self.show(self.phase, at)

    def lose_power(self, at: float, then: Phase, due: float, detail: str) -> None:
        """It went off without being asked: the meter stops, and listings say so from `due` on."""
        self._stop_meter(at)
        self.phase, self.then, self.due, self.detail = Phase.POWERLESS, then, due, detail

    def end(self, at: float) -> None:
        """Nothing of it is left."""
        self.phase, self.ended_at, self.user_data = self.then, at, ""
        self.show(self.phase, at)

    def clear_away(self, at: float) -> None:
        """It had failed, and its owner has seen that and ends it: from now on it is terminated like any other."""
        self.phase = Phase.TERMINATED
        self.show(self.phase, at)

    def _stop_meter(self, at: float) -> None:
        if self.billed_until is None:
            self.billed_until = at

    def billed_s(self, now: float) -> float:
        """Seconds on the meter: a begun unit of billing counts whole."""
        until = self.billed_until if self.billed_until is not None else now
        return max(0, math.ceil((until - self.created_at - 1e-6) / self.billing_step_s)) * self.billing_step_s

    def billed_usd(self, now: float) -> float:
        """Dollars on the meter."""
        return self.billed_s(now) * self.price_usd_per_hour / 3600.0

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


def rental_from_json(data: dict[str, Any]) -> Rental:
    """Read a stored rental."""
    rental = Rental(**data)
    rental.phase, rental.then = Phase(rental.phase), Phase(rental.then)
    rental.shown = [(at, word) for at, word in rental.shown]
    return rental
