"""How many nodes to keep idle beside those that work, so that a gang that loses one does not wait for another.

The number of nodes that are away at a time is Poisson with mean nodes x rate x time until one is back (a binomial for
many nodes, each of which rarely fails). ByteRobust (arXiv 2509.16293) keeps its 99th percentile, about 4 for 1,024
machines; Delta (arXiv 2503.11901) plans for 99.9 %. A spare costs its price; what it saves is a whole gang that
waits, for as long as at least so many nodes are away. So spares are added while one saves more than it costs, and at
most up to the percentile: a job of one node never pays for a second.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from godwit.domain.jobs import Attempt, Resources, Spot
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk, Infra
from godwit.scheduler.bounds import Warm
from godwit.scheduler.health import rates
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.snapshot import Snapshot

MOST = 64
"""Spares of one domain at most: beyond it the trouble is not one that spares cure."""


@dataclass(frozen=True)
class Domain:
    """Where a spare can take over: nodes of one shape in one region; in any (None) where a gang spans several."""

    provider: str
    region: str | None
    gpu_model: str | None
    gpu_count: int


def wanted(nodes: int, gang: int, rate_per_hour: float, policy: HealthPolicy) -> int:
    """Spares for `nodes` that work, the largest gang of which has `gang`, at so many failures of one node per hour."""
    mean = nodes * rate_per_hour * policy.spare_away_s / 3_600.0
    at_most, spares = math.exp(-mean), 0  # P(away <= spares), with none away so far
    term = at_most
    while spares < MOST and at_most < policy.spare_coverage and (1.0 - at_most) * gang > 1.0:
        spares += 1
        term *= mean / spares
        at_most += term
    return spares


def asks(snapshot: Snapshot) -> tuple[Warm, ...]:
    """What to keep ready because of `health.spares`, for each place in which gangs run, in a fixed order.

    Whoever loses a node waits with all of its nodes, wherever they are.
    """
    policy = snapshot.policy.health
    if policy.spares == 0:
        return ()
    gangs, nodes = Counter[Domain](), Counter[Domain]()
    offers: dict[Domain, Offer] = {}
    for attempt in snapshot.attempts:
        members = list(_whole_nodes(attempt, snapshot))
        is_wide = len({node.offer.region for node in members}) > 1
        for node in members:
            domain = domain_of(node, is_wide=is_wide)
            gangs[domain] = max(gangs[domain], len(members))
            nodes[domain] += 1
            offers.setdefault(domain, node.offer)
    found = []
    for domain in sorted(nodes, key=str):
        rate = rates.per_hour(offers[domain], snapshot)
        auto = wanted(nodes[domain], gangs[domain], rate, policy)
        count = auto if policy.spares is None else policy.spares
        if count:
            found.append(Warm(_ask(domain), count, "health.spares"))
    return tuple(found)


def domain_of(node: Node, *, is_wide: bool) -> Domain:
    """Where a spare may be that takes over from a node, and what it is."""
    offer = node.offer
    return Domain(offer.provider, None if is_wide else offer.region, offer.gpu_model, offer.gpu_count)


def _whole_nodes(attempt: Attempt, snapshot: Snapshot) -> Iterator[Node]:
    """Nodes that an attempt has all GPUs of: what shares a machine finds another place more easily."""
    for slot in attempt.slots:
        node = snapshot.node_by_id.get(slot.node_id)
        if node is not None and node.offer.gpu_count and len(slot.gpus) >= node.offer.gpu_count:
            yield node


def _ask(domain: Domain) -> Resources:
    models = () if domain.gpu_model is None else (domain.gpu_model,)
    place = Infra(domain.provider, domain.region)
    return Resources(gpus=GpuAsk(domain.gpu_count, models), infra=(place,), spot=Spot.AUTO)
