"""Spot replicas with on-demand cover: a few more on spot than are wanted, spread over zones, and on demand only for
what spot lacks.

The rule is SpotHedge (Mao et al., "SkyServe: Serving AI Models across Regions and Clouds with Spot Instances",
EuroSys'25): `spare` replicas besides the wanted ones on spot; a zone that lost or refused one is passed over until
fewer than two are left; on demand there are as many as are missing of all the spot ones, those that start included.

With one thing more. What a zone gave lately it takes back most often, and all of it at once. So there are also as many
on demand as would be missing if the zone that gave most within `SETTLES_S` took that back: on-demand replicas go once
the spot ones that relieve them have settled, and not at once. A zone that gave no more than `spare` costs nothing.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from godwit.domain.jobs import Spot
from godwit.domain.resources import Infra
from godwit.domain.services import Replica, ReplicaState
from godwit.scheduler.serving.actions import AddReplica
from godwit.scheduler.serving.view import View, Zone

ZONES_MIN = 2
"""With fewer zones than this that were not passed over, all are tried again: capacity comes back (the paper's rule)."""


SETTLES_S = 600.0
"""So long a spot replica that takes requests counts as one that may go at any time. In the public traces that
`benchmarks/spot_services` replays, machines that a zone gave ten to twenty minutes ago are lost 0.3 to 3.4 times an
hour, and less and less as they get older: after eight hours 0.1 times. Ten minutes cost 0.04 of on demand where one
zone has all replicas, and an hour would cost 0.15.
"""


def on_demand(target: int, spare: int, spot_ready: int, at_risk: int = 0) -> int:
    """How many on-demand replicas there should be, at most the target.

    `spot_ready` spot ones take requests, of which `at_risk` may be taken back at once.
    """
    return min(target, max(0, target + spare - spot_ready, target - (spot_ready - at_risk)))


def at_risk(spot_ready: Iterable[tuple[str, float]], now: float) -> int:
    """The most that one zone gave lately, of spot replicas that take requests, as (zone, since when)."""
    return max(Counter(zone for zone, since in spot_ready if now - since < SETTLES_S).values(), default=0)


def open_zones(zones: Collection[Zone]) -> list[Zone]:
    """The zones in which spot replicas are tried: those that are not passed over, if these are enough."""
    able = [zone for zone in zones if not zone.is_passed_over]
    return able if len(able) >= ZONES_MIN else list(zones)


def next_zone(zones: Iterable[Zone], held: Mapping[str, int]) -> Zone | None:
    """Where the next spot replica goes: where fewest are, of these the cheapest; None without zones."""
    return min(zones, key=lambda zone: (held.get(str(zone.place), 0), zone.usd_per_hour, str(zone.place)), default=None)


@dataclass(frozen=True)
class Sides:
    """The replicas of a version that are to stay, on either side."""

    spot: tuple[Replica, ...]
    on_demand: tuple[Replica, ...]

    @property
    def ready(self) -> list[Replica]:
        """The spot replicas that take requests."""
        return [one for one in self.spot if one.state is ReplicaState.READY]


def sides(view: View, number: int) -> Sides:
    """The replicas of a version by where they may be; who moves is on none."""
    there = [one for one in view.of(number, ReplicaState.STARTING, ReplicaState.READY) if one.moves_to is None]
    spot = [one for one in there if _is_spot(view, one)]
    return Sides(tuple(spot), tuple(one for one in there if one not in spot))


def _is_spot(view: View, replica: Replica) -> bool:
    job = view.jobs.get(replica.job_id)
    return job is not None and job.spec.resources.spot is Spot.ONLY


def _cover(view: View, of: Sides, target: int, spare: int, now: float) -> int:
    given = ((_place(view, one), one.state_since) for one in of.ready)
    return on_demand(target, spare, len(of.ready), at_risk(given, now))


def settles_at(view: View) -> Iterator[float]:
    """When spot replicas that take requests count as settled."""
    for one in view.replicas:
        if one.state is ReplicaState.READY and _is_spot(view, one):
            yield one.state_since + SETTLES_S


def missing(view: View, number: int, target: int, spare: int, now: float) -> list[AddReplica]:
    """Replicas that a version lacks on either side."""
    there, held = sides(view, number), dict[str, int]()
    for replica in there.spot:
        place = _place(view, replica)
        held[place] = held.get(place, 0) + 1
    added = list[AddReplica]()
    zones = open_zones(view.zones)
    for _ in range(target + spare - len(there.spot) if target else 0):
        zone = next_zone(zones, held)
        if zone is None:
            break
        held[str(zone.place)] = held.get(str(zone.place), 0) + 1
        reason = f"spot replicas: {len(there.spot) + len(added)} of {target} and {spare} spare"
        added.append(AddReplica(view.service.id, number, reason, zone.place, Spot.ONLY))
    for _ in range(_cover(view, there, target, spare, now) - len(there.on_demand)):
        reason = f"{len(there.ready)} of {target} and {spare} spare spot replicas take requests, or came lately"
        added.append(AddReplica(view.service.id, number, reason, None, Spot.NEVER))
    return added


def surplus(view: View, number: int, target: int, spare: int, now: float) -> list[Replica]:
    """Replicas of a version that need not be: those that wait for a zone that refuses, and what is more than needed."""
    there = sides(view, number)
    passed = {str(zone.place) for zone in view.zones} - {str(zone.place) for zone in open_zones(view.zones)}
    lost = [one for one in there.spot if not _is_placed(view, one) and _place(view, one) in passed]
    left = [one for one in there.spot if one not in lost]
    too_many = _youngest(left, len(left) - (target + spare if target else 0))
    cover = _cover(view, there, target, spare, now)
    return [*lost, *too_many, *_youngest(there.on_demand, len(there.on_demand) - cover)]


def _youngest(of: Iterable[Replica], count: int) -> list[Replica]:
    """So many, those first that take no requests, then the youngest."""
    return sorted(of, key=lambda one: (one.state is ReplicaState.READY, -one.ordinal))[: max(0, count)]


def _is_placed(view: View, replica: Replica) -> bool:
    return replica.job_id in view.attempts


def _place(view: View, replica: Replica) -> str:
    """Where it may be, as it was told when it was made."""
    job = view.jobs.get(replica.job_id)
    infra: tuple[Infra, ...] = () if job is None else job.spec.resources.infra
    return str(infra[0]) if len(infra) == 1 else ""
