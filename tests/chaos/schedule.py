"""The seeded schedule of what is killed, and when. Pure.

Kills are dealt as from packs of cards, so that a run of any length has its share of each kind. Which of several control
planes, machines or programs it is depends on what there is by then: `pick` chooses among those.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

FIRST_S = 15.0
"""Until then the first machines boot and the first jobs start."""

GAP_S = (4.0, 11.0)
"""Between two kills: shorter than most take to recover from, so that the next one strikes in the middle of that."""


class Victim(StrEnum):
    """What is killed with SIGKILL, unless it says otherwise."""

    CONTROL_PLANE = "control plane"
    LEADER = "leading control plane"
    ALL_CONTROL_PLANES = "all control planes"
    POSTGRES = "PostgreSQL"
    OUTAGE = "PostgreSQL for 8 s"
    HANG = "PostgreSQL stops for 8 s"
    BACKEND = "a connection's PostgreSQL"
    WORKER = "worker"
    ALL_WORKERS = "all workers"
    REDIS = "Redis"
    MESSAGES = "Redis' content (FLUSHALL)"
    GATEWAY = "gateway"
    AGENT = "agent"
    GUARD = "guard of an attempt"
    MACHINE = "machine"
    PROGRAM = "program of a job"
    RAY = "Ray"
    RAY_WORKER = "Ray worker"
    CLOUD = "a cloud's API (503)"
    ANSWER = "a launch's answer (lost)"


PACK = {
    Victim.CONTROL_PLANE: 2,
    Victim.LEADER: 2,
    Victim.ALL_CONTROL_PLANES: 1,
    Victim.POSTGRES: 2,
    Victim.OUTAGE: 1,
    Victim.HANG: 1,
    Victim.BACKEND: 1,
    Victim.WORKER: 2,
    Victim.ALL_WORKERS: 1,
    Victim.REDIS: 1,
    Victim.MESSAGES: 1,
    Victim.GATEWAY: 2,
    Victim.AGENT: 3,
    Victim.GUARD: 1,
    Victim.MACHINE: 3,
    Victim.PROGRAM: 2,
    Victim.RAY: 2,
    Victim.RAY_WORKER: 1,
    Victim.CLOUD: 1,
    Victim.ANSWER: 1,
}
"""How often each comes in one pack."""


_NOT_QUICK = {Victim.OUTAGE, Victim.HANG, Victim.BACKEND, Victim.RAY_WORKER, Victim.CLOUD, Victim.ANSWER}

QUICK: dict[Victim, int] = {victim: 1 for victim in PACK if victim not in _NOT_QUICK}
"""One of each that is killed itself, where no job has a real Ray."""


@dataclass(frozen=True)
class Kill:
    """One kill at `at_s` after the beginning; `pick`, from 0 to 1, chooses among those that could be hit."""

    at_s: float
    victim: Victim
    pick: float


def of(seed: int, lasts_s: float, pack: Mapping[Victim, int] = PACK, gap_s: tuple[float, float] = GAP_S) -> list[Kill]:
    """The kills of a seed within `lasts_s`: the same each time."""
    rng = random.Random(seed)
    cards = [victim for victim, count in pack.items() for _ in range(count)]
    kills: list[Kill] = []
    at_s, left = FIRST_S, list[Victim]()
    while at_s < lasts_s:
        if not left:
            left = rng.sample(cards, len(cards))
        kills.append(Kill(at_s, left.pop(), rng.random()))
        at_s += rng.uniform(*gap_s)
    return kills
