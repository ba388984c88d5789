"""Fleets in words, what they cost, and what-if questions about them.

    80 x H100-SXM:8 at $20/h on lambda/us-east in fabrics of 16

is 80 nodes of 8 GPUs each, at that price per node and hour (else from a price list), of that provider and region; a
gang stays within 16 of them. Everything after the GPUs may be left out: then all nodes of the line share one fabric.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from godwit.domain.errors import InvalidRequest
from godwit.scheduler.asks import NodeKind
from godwit.scheduler.cluster import Cluster

NODES_MAX = 100_000

_LINE = re.compile(
    r"(?P<count>\d{1,6}) *x *(?P<model>[A-Za-z0-9_.-]+):(?P<gpus>\d{1,2})"
    r"(?: at \$(?P<price>\d+(?:\.\d+)?)/h)?"
    r"(?: on (?P<provider>[\w-]+)(?:/(?P<region>[\w-]+))?)?"
    r"(?: in fabrics of (?P<fabric>\d{1,6}))?"
)
_SAY = "write it as '80 x H100-SXM:8 at $20/h on lambda/us-east in fabrics of 16'; all after the GPUs may be left out"


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes that are alike. `usd_per_hour` is of one node, None if nobody said; `fabric_nodes` 0: all in one fabric."""

    count: int
    model: str
    gpus: int
    usd_per_hour: float | None = None
    provider: str = "fleet"
    region: str = "here"
    fabric_nodes: int = 0

    @property
    def shape(self) -> str:
        """What price lists call it."""
        return f"{self.model}:{self.gpus}"


Fleet = tuple[Pool, ...]


def pool(line: str) -> Pool:
    """Nodes from a line. Raises InvalidRequest that says how to write it."""
    found = _LINE.fullmatch(" ".join(line.split()))
    if found is None:
        raise InvalidRequest(f"{line!r} is no description of nodes; {_SAY}")
    said = found.groupdict()
    count, gpus = int(said["count"]), int(said["gpus"])
    if not 1 <= count <= NODES_MAX or not gpus:
        raise InvalidRequest(f"{line!r} must have 1 to {NODES_MAX:,} nodes with at least one GPU")
    price = float(said["price"]) if said["price"] else None
    provider, region = said["provider"] or "fleet", said["region"] or "here"
    return Pool(count, said["model"], gpus, price, provider, region, int(said["fabric"] or 0))


def parse(lines: Iterable[str], prices: Mapping[str, float] | None = None) -> Fleet:
    """A fleet from its lines, with prices of `[provider/]MODEL:GPUS` for those that have none."""
    fleet = tuple(pool(line) for line in lines)
    if not fleet:
        raise InvalidRequest(f"the fleet has no nodes; {_SAY}")
    if sum(one.count for one in fleet) > NODES_MAX:
        raise InvalidRequest(f"the fleet has more than {NODES_MAX:,} nodes; simulate a part of it")
    return tuple(replace(one, usd_per_hour=_listed(one, prices or {})) for one in fleet)


def what_if(fleet: Fleet, changes: str) -> Fleet:
    """Another fleet: `add 8 x H100-SXM:8 at $20/h`, `remove lambda`, `price lambda/H100-SXM:8 = 18`; several by `;`."""
    for change in filter(None, (part.strip() for part in changes.split(";"))):
        fleet = _changed(fleet, change)
    if not fleet:
        raise InvalidRequest(f"what if {changes!r}: no nodes are left to simulate")
    return fleet


def cluster(fleet: Fleet) -> Cluster:
    """All nodes empty. CPUs and memory are plenty: traces of GPU jobs do not say them."""
    made, number = Cluster(max(one.gpus for one in fleet)), 0
    for index, one in enumerate(fleet):
        price = one.usd_per_hour or 0.0
        kind = NodeKind(one.model, one.gpus, 0.0, 10**9, 2**31, one.provider, one.region, price_usd_per_hour=price)
        for count in range(one.count):
            number += 1
            fabric = count // one.fabric_nodes if one.fabric_nodes else 0
            made.add(f"node-{number:05}", kind, {"fabric": f"{index}-{fabric}"})
    return made


def usd_per_hour(fleet: Fleet) -> float:
    """What all nodes cost together; 0 for those without a price."""
    return sum(one.count * (one.usd_per_hour or 0.0) for one in fleet)


def told(fleet: Fleet) -> str:
    """The fleet in a line."""
    return ", ".join(f"{one.count} x {one.shape}" for one in fleet)


def _listed(one: Pool, prices: Mapping[str, float]) -> float | None:
    listed = prices.get(f"{one.provider}/{one.shape}", prices.get(one.shape))
    return one.usd_per_hour if one.usd_per_hour is not None else listed


def _changed(fleet: Fleet, change: str) -> Fleet:
    verb, _, rest = change.partition(" ")
    if verb == "add":
        return (*fleet, pool(rest))
    if verb == "remove":
        return _removed(fleet, rest.strip())
    if verb == "price":
        return _priced(fleet, rest)
    raise InvalidRequest(f"what if {change!r}? Say 'add <nodes>', 'remove <provider>' or 'price <nodes> = <dollars>'")


def _removed(fleet: Fleet, provider: str) -> Fleet:
    left = tuple(one for one in fleet if one.provider != provider)
    if len(left) == len(fleet):
        there = ", ".join(sorted({one.provider for one in fleet}))
        raise InvalidRequest(f"what if there were no provider {provider!r}: there is none; there are: {there}")
    return left


def _priced(fleet: Fleet, rest: str) -> Fleet:
    name, _, amount = (part.strip() for part in rest.partition("="))
    if not re.fullmatch(r"\$?\d+(\.\d+)?", amount):
        raise InvalidRequest(f"what if the price of {name!r} were {amount!r}: write 'price H100-SXM:8 = 18.50'")
    names = [(f"{one.provider}/{one.shape}", one.shape) for one in fleet]
    if not any(name in pair for pair in names):
        raise InvalidRequest(f"what if {name!r} had another price: there are only {', '.join(_names(fleet))}")
    price = float(amount.lstrip("$"))
    return tuple(
        replace(one, usd_per_hour=price) if name in pair else one for one, pair in zip(fleet, names, strict=True)
    )


def _names(fleet: Sequence[Pool]) -> list[str]:
    return sorted({one.shape for one in fleet})
