"""A service on spot with on-demand cover, replayed on public availability traces: how much of the time it has all of
its replicas, and what that costs beside all of them on demand.

The rule is the product's (`scheduler/serving/hedge`), with one spare replica. A machine takes three minutes until its
replica takes requests (183 s in the paper), on either market; $3.06 an hour on demand and $0.9731 on spot. Of replicas
in a zone that loses capacity the youngest go. `all` counts the time in which no replica is missing, `served` the mean
share of the wanted replicas that take requests. Published for the rule: 0.99 to 1 at 0.45 to 0.58 (Mao et al.,
EuroSys'25).

EC2, of which the traces are, says two minutes before that it takes a machine back (docs.aws.amazon.com, "Spot Instance
interruption notices"). godwit starts what takes its place then, while the replica serves on until ten seconds before;
so it is missing for less long. Rows without a notice are of providers that say nothing.

The traces (Wu et al., github.com/skypilot-org/spot-traces) carry no licence and are not in this repository.
"""

import csv
import gzip
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from godwit.domain.resources import Infra
from godwit.scheduler.departures import LAST_MOMENT_S
from godwit.scheduler.serving import hedge
from godwit.scheduler.serving.view import Zone

from benchmarks import traces
from benchmarks.figures import Figure, at_least, at_most

SPOT_USD, ON_DEMAND_USD = 0.9731, 3.06
READY_AFTER_S = 180.0
SPARE = 1
EC2_NOTICE_S = 120.0
SERIES = {
    "4 nodes": ("preempt_4node_aws_2023-08-03_3zones_v100_early.csv.gz", 4),
    "16 nodes": ("avail_16node_aws_2023-08-27_3zones_v100_early.csv.gz", 16),
    "9 zones": ("avail_1node_aws_2023-02-15_9zones_v100_early.csv.gz", 4),
}
"""Trace, and how many replicas the service wants: as many as one zone of it can have at most, of nine zones four."""


@dataclass(frozen=True)
class Capacity:
    """How many machines each zone could have at each look, one look every `look_s` seconds."""

    zones: tuple[str, ...]
    looks: Sequence[Sequence[int]]
    look_s: float


@dataclass
class Fleet:
    """The replicas at an instant: for each spot one its zone and from when on it takes requests, and the others."""

    spot: list[tuple[str, float]] = field(default_factory=list)
    on_demand: list[float] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)

    def lose(self, zone: str, capacity: int) -> None:
        """What a zone takes back: its youngest replicas."""
        gone = Counter(sorted(one for one in self.spot if one[0] == zone)[capacity:])
        if gone:
            self.passed.add(zone)
            self.spot = list((Counter(self.spot) - gone).elements())


@dataclass(frozen=True)
class Run:
    """What came of it: shares of the time with all replicas, of the replicas that served, and of the cost on demand."""

    whole: float
    served: float
    cost: float


def read(name: str) -> Capacity:
    """A trace. Raises FileNotFoundError where it is not."""
    with gzip.open(traces.path("spot", name), "rt", newline="") as lines:
        header, *rows = csv.reader(lines)
    looks = [[int(cell) for cell in row[2:]] for row in rows if all(row[2:])]
    return Capacity(tuple(header[2:]), looks, float(rows[1][1]) - float(rows[0][1]))


def replay(
    of: Capacity, target: int, spare: int = SPARE, ready_after_s: float = READY_AFTER_S, notice_s: float = 0.0
) -> Run:
    """A service that wants `target` replicas, from the first look to the last."""
    fleet, whole_s, served_s, usd = Fleet(), 0.0, 0.0, 0.0
    for index, row in enumerate(of.looks):
        now = index * of.look_s
        capacity = dict(zip(of.zones, row, strict=True))
        before = len(fleet.spot)
        for zone, count in capacity.items():
            fleet.lose(zone, count)
        known_s = max(0.0, notice_s - LAST_MOMENT_S) if len(fleet.spot) < before else 0.0
        ready_at = now + ready_after_s - known_s
        _grow(fleet, capacity, target + spare, ready_at)
        ready = [one for one in fleet.spot if one[1] <= now]
        cover = hedge.on_demand(target, spare, len(ready), hedge.at_risk(ready, now))
        fleet.on_demand = sorted([*fleet.on_demand, *[ready_at] * (cover - len(fleet.on_demand))])[:cover]
        took, served = _served(fleet, target, now, of.look_s)
        whole_s, served_s = whole_s + took, served_s + served
        usd += (len(fleet.spot) * SPOT_USD + len(fleet.on_demand) * ON_DEMAND_USD) * of.look_s / 3600
    total_s = len(of.looks) * of.look_s
    return Run(whole_s / total_s, served_s / total_s, usd / (target * ON_DEMAND_USD * total_s / 3600))


def _grow(fleet: Fleet, capacity: dict[str, int], wanted: int, ready_at: float) -> None:
    """Ask zone after zone by the rule; one that refuses is passed over."""
    refused: set[str] = set()
    while len(fleet.spot) < wanted:
        zones = [Zone(Infra("cloud", name), SPOT_USD, name in fleet.passed) for name in capacity if name not in refused]
        held = Counter(f"cloud/{zone}" for zone, _ in fleet.spot)
        chosen = hedge.next_zone(hedge.open_zones(zones), held)
        if chosen is None:
            return
        name = str(chosen.place.region)
        if held[f"cloud/{name}"] < capacity[name]:
            fleet.spot.append((name, ready_at))
            fleet.passed.discard(name)
        else:
            refused.add(name)
            fleet.passed.add(name)


def _served(fleet: Fleet, target: int, now: float, look_s: float) -> tuple[float, float]:
    """Seconds of one look with all replicas, and the mean share of them times its seconds."""
    since = sorted([at for _, at in fleet.spot] + fleet.on_demand)[:target]
    each = [min(look_s, max(0.0, now + look_s - max(now, at))) for at in since]
    return (each[-1] if len(each) == target else 0.0), sum(each) / target


def measure(share: float = 1.0) -> Iterator[Figure]:
    """Rows for each series; a smaller `share` of each for a quick look. Without the traces, none: says so instead."""
    for name, (trace, target) in SERIES.items():
        try:
            of = read(trace)
        except FileNotFoundError as absent:
            print(f"spot_services: not measured, since its traces may not be shipped: {absent}", file=sys.stderr)
            return
        of = Capacity(of.zones, of.looks[: round(len(of.looks) * share)], of.look_s)
        run, quick = replay(of, target, notice_s=EC2_NOTICE_S), replay(of, target, ready_after_s=60.0)
        unsaid = replay(of, target)
        what = f"service on spot, {name}, {target} replicas"
        yield Figure(f"{what}: time with all", run.whole, "of the time", at_least(0.99))
        yield Figure(f"{what}: served", run.served, "of the replicas", at_least(0.99))
        yield Figure(f"{what}: cost", run.cost, "of on demand", at_most(0.55))
        yield Figure(f"{what}: time with all, without a notice", unsaid.whole, "of the time", at_least(0.99))
        yield Figure(f"{what}: served, without a notice", unsaid.served, "of the replicas", at_least(0.99))
        yield Figure(f"{what}: time with all, no notice, ready after 60 s", quick.whole, "of the time", at_least(0.99))
