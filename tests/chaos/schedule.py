"""The seeded schedule of what is killed, and when. Pure.

Kills are dealt as from packs of cards, so that a run of any length has its share of each kind. Which of several control
planes, machines or programs it is depends on what there is by then: `pick` chooses among those.
"""

import random
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
    BACKEND = "a connection's PostgreSQL"
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
    Victim.BACKEND: 1,
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


@dataclass(frozen=True)
class Kill:
    """One kill at `at_s` after the beginning; `pick`, from 0 to 1, chooses among those that could be hit."""

    at_s: float
    victim: Victim
    pick: float


def of(seed: int, lasts_s: float, pack: dict[Victim, int] | None = None) -> list[Kill]:
    """The kills of a seed within `lasts_s`: the same each time."""
    rng = random.Random(seed)
    cards = [victim for victim, count in (pack or PACK).items() for _ in range(count)]
    kills: list[Kill] = []
    at_s, left = FIRST_S, list[Victim]()
    while at_s < lasts_s:
        if not left:
            left = rng.sample(cards, len(cards))
        kills.append(Kill(at_s, left.pop(), rng.random()))
        at_s += rng.uniform(*GAP_S)
    return kills
