"""Seeded schedules of what goes wrong in the network, and when it heals. Pure.

A fault names its place by rank, as nobody knows beforehand on which hosts a job will run. Most schedules have one fault
that is long enough for a lease to end, and one of any kind and length beside it.
"""

import random
from dataclasses import dataclass
from enum import StrEnum

from tests.network.switch import CONTROL, STORE, Link


class Fault(StrEnum):
    """What goes wrong at one node of the job."""

    PARTITION = "partition"
    DEAF = "deaf"
    MUTE = "mute"
    RANKS = "ranks"
    STORE_CUT = "store"
    SLOW = "slow"
    LOSSY = "lossy"
    AWAY = "away"


TOLD = {
    Fault.PARTITION: "the node and the control plane do not hear each other",
    Fault.DEAF: "the node does not hear the control plane",
    Fault.MUTE: "the control plane does not hear the node",
    Fault.RANKS: "the node and its peers do not hear each other",
    Fault.STORE_CUT: "the node and the store do not hear each other",
    Fault.SLOW: "what the node and the control plane say takes long",
    Fault.LOSSY: "much of what the node says to anybody, or hears, is lost",
    Fault.AWAY: "the node is cut off from everything",
}

_CUT = Link(is_cut=True)


@dataclass(frozen=True)
class Trouble:
    """One fault at the node of one rank, from `at_s` after the job's first step, for `lasts_s`."""

    fault: Fault
    rank: int
    at_s: float
    lasts_s: float
    severity: float
    """From 0 to 1, for what has degrees."""

    def links(self, host: str, others: list[str]) -> dict[tuple[str, str], Link]:
        """What it does to the links of the node's host; `others` are all other hosts."""
        slow = Link(delay_s=0.2 + 1.3 * self.severity, jitter_s=0.5 * self.severity)
        lossy = Link(loss=0.1 + 0.4 * self.severity, delay_s=0.02, jitter_s=0.05)
        everything = [CONTROL, STORE, *others]
        return {
            Fault.PARTITION: _both(host, [CONTROL], _CUT),
            Fault.DEAF: {(CONTROL, host): _CUT},
            Fault.MUTE: {(host, CONTROL): _CUT},
            Fault.RANKS: _both(host, others, _CUT),
            Fault.STORE_CUT: _both(host, [STORE], _CUT),
            Fault.SLOW: _both(host, [CONTROL], slow),
            Fault.LOSSY: _both(host, everything, lossy),
            Fault.AWAY: _both(host, everything, _CUT),
        }[self.fault]


@dataclass(frozen=True)
class Schedule:
    """What one run goes through."""

    seed: int
    nodes: int
    troubles: tuple[Trouble, ...]

    @property
    def needs_bucket(self) -> bool:
        """Whether the store has to be one that can be cut off."""
        return any(trouble.fault in {Fault.STORE_CUT, Fault.LOSSY, Fault.AWAY} for trouble in self.troubles)

    def __str__(self) -> str:
        told = ", ".join(f"{t.fault} of rank {t.rank} at {t.at_s:.1f} s for {t.lasts_s:.1f} s" for t in self.troubles)
        return f"seed {self.seed}, {self.nodes} node{'s' if self.nodes > 1 else ''}: {told}"


def of(seed: int) -> Schedule:
    """The schedule of a seed: the same each time. Every eight seeds have each fault as their first."""
    rng = random.Random(seed)
    first = list(Fault)[seed % len(Fault)]
    nodes = 2 if first is Fault.RANKS or rng.random() < 0.5 else 1
    troubles = [_trouble(rng, first, nodes, lasts_s=rng.choice([rng.uniform(0.5, 5), rng.uniform(9, 20)]))]
    for _ in range(rng.choice([0, 1, 1, 2])):
        fault = rng.choice([one for one in Fault if nodes > 1 or one is not Fault.RANKS])
        troubles.append(_trouble(rng, fault, nodes, lasts_s=rng.uniform(0.5, 14)))
    return Schedule(seed, nodes, tuple(troubles))


def _trouble(rng: random.Random, fault: Fault, nodes: int, lasts_s: float) -> Trouble:
    return Trouble(fault, rng.randrange(nodes), rng.uniform(0.0, 5.0), lasts_s, rng.random())


def _both(host: str, others: list[str], link: Link) -> dict[tuple[str, str], Link]:
    return {pair: link for other in others for pair in ((host, other), (other, host))}
