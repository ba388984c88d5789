"""How often nodes fail, as it is believed today: what others measured, and the more of one's own, the longer one looks.

Failures come as a Poisson process whose rate is not known. With a gamma prior of `PRIOR_LOSSES` in `PRIOR_HOURS` the
expected rate after `n` failures in `h` node-hours is (prior losses + n) / (prior hours + h): 20 node-days of experience
weigh as much as the prior (Gelman et al., "Bayesian Data Analysis", section 2.6). What is lost at once is in the record
of each offer already (`trust`); here what checks found comes on top, by provider.

    rates.per_hour(node.offer, snapshot)                 # of one node
    rates.failures_per_s([first, second], snapshot)      # of a gang, which any of its nodes stops
"""

from collections import Counter
from collections.abc import Iterable

from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.scheduler.health.casebook import done, takes_out
from godwit.scheduler.health.signs import JOB_CHECKS
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.trust import PRIOR_HOURS, UNKNOWN

DAYS_SEEN = 28.0
"""For so long closed incidents are in the snapshot."""

HOUR_S, DAY_H = 3_600.0, 24.0


def per_hour(offer: Offer, snapshot: Snapshot) -> float:
    """Failures of one node of this offer per hour: machines that are lost, and machines that checks found broken."""
    lost = snapshot.records.get(offer.key, UNKNOWN).losses_per_hour(is_spot=offer.spot)
    return lost + _found_per_hour(offer.provider, snapshot)


def _found_per_hour(provider: str, snapshot: Snapshot) -> float:
    return incidents(provider, snapshot) / (PRIOR_HOURS + node_hours(provider, snapshot))


def per_1000_node_days(offer: Offer, snapshot: Snapshot) -> float:
    """The same in the unit of the literature."""
    return per_hour(offer, snapshot) * DAY_H * 1_000


def failures_per_s(nodes: Iterable[Node], snapshot: Snapshot) -> float:
    """Failures per second of a gang on these nodes: each of them stops it."""
    alike = Counter((node.offer.provider, node.offer.key, node.offer.spot) for node in nodes)
    found = {provider: _found_per_hour(provider, snapshot) for provider in {provider for provider, _, _ in alike}}
    per_hour = (
        count * (snapshot.records.get(key, UNKNOWN).losses_per_hour(is_spot=is_spot) + found[provider])
        for (provider, key, is_spot), count in alike.items()
    )
    return sum(per_hour) / HOUR_S


def incidents(provider: str, snapshot: Snapshot) -> int:
    """Incidents of hardware at a provider in the last four weeks that took work away, one for each common cause."""
    return sum(
        one.provider == provider
        and one.cause is None
        and takes_out(one)
        and one.check not in JOB_CHECKS
        and any(remedy.strength > 0 for remedy in done(one))
        for one in (*snapshot.health.past, *snapshot.health.incidents)
    )


def node_hours(provider: str, snapshot: Snapshot) -> float:
    """How long the provider's nodes that are there now were watched in the last four weeks, together.

    What was given back meanwhile is missing, so that a fleet that shrinks believes in a rate that is too high, which
    errs to the side of more saves and more spares.
    """
    now, most = newest(snapshot), DAYS_SEEN * DAY_H
    mine = (node for node in snapshot.nodes if node.offer.provider == provider)
    return sum(min(most, max(0.0, now - node.created_at) / HOUR_S) for node in mine)


def newest(snapshot: Snapshot) -> float:
    """The newest instant that the snapshot tells of: estimates over weeks need no better clock."""
    return max((node.last_seen_at or node.state_since for node in snapshot.nodes), default=snapshot.serving_since)
