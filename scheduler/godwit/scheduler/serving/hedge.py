"""Spot replicas with on-demand cover: a few more on spot than are wanted, spread over zones, and on demand only for
what spot lacks.

The rule is SpotHedge (Mao et al., "SkyServe: Serving AI Models across Regions and Clouds with Spot Instances",
EuroSys'25): `spare` replicas besides the wanted ones on spot; a zone that lost or refused one is passed over until
fewer than two are left; on demand there are as many as are missing of all the spot ones, those that start included.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from godwit.domain.jobs import Spot
from godwit.domain.resources import Infra
from godwit.domain.services import Replica, ReplicaState
from godwit.scheduler.serving.actions import AddReplica
from godwit.scheduler.serving.view import View, Zone

ZONES_MIN = 2
"""With fewer zones than this that were not passed over, all are tried again: capacity comes back (the paper's rule)."""


def on_demand(target: int, spare: int, spot_ready: int) -> int:
    """How many on-demand replicas there should be, with so many spot ones that take requests; at most the target."""
    return min(target, max(0, target + spare - spot_ready))


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
    def spot_ready(self) -> int:
        """How many spot replicas take requests."""
        return sum(one.state is ReplicaState.READY for one in self.spot)


def sides(view: View, number: int) -> Sides:
    """The replicas of a version by where they may be; who moves is on none."""
    there = [one for one in view.of(number, ReplicaState.STARTING, ReplicaState.READY) if one.moves_to is None]
    spot = [one for one in there if _is_spot(view, one)]
    return Sides(tuple(spot), tuple(one for one in there if one not in spot))


def _is_spot(view: View, replica: Replica) -> bool:
    job = view.jobs.get(replica.job_id)
    return job is not None and job.spec.resources.spot is Spot.ONLY


def missing(view: View, number: int, target: int, spare: int) -> list[AddReplica]:
    """Replicas that a version lacks on either side."""
    now, held = sides(view, number), dict[str, int]()
    for replica in now.spot:
        place = _place(view, replica)
        held[place] = held.get(place, 0) + 1
    added = list[AddReplica]()
    zones = open_zones(view.zones)
    for _ in range(target + spare - len(now.spot) if target else 0):
        zone = next_zone(zones, held)
        if zone is None:
            break
        held[str(zone.place)] = held.get(str(zone.place), 0) + 1
        reason = f"spot replicas: {len(now.spot) + len(added)} of {target} and {spare} spare"
        added.append(AddReplica(view.service.id, number, reason, zone.place, Spot.ONLY))
    cover = on_demand(target, spare, now.spot_ready)
    for _ in range(cover - len(now.on_demand)):
        reason = f"{now.spot_ready} of {target} and {spare} spare spot replicas take requests"
        added.append(AddReplica(view.service.id, number, reason, None, Spot.NEVER))
    return added


def surplus(view: View, number: int, target: int, spare: int) -> list[Replica]:
    """Replicas of a version that need not be: those that wait for a zone that refuses, and what is more than needed."""
    now = sides(view, number)
    passed = {str(zone.place) for zone in view.zones} - {str(zone.place) for zone in open_zones(view.zones)}
    lost = [one for one in now.spot if not _is_placed(view, one) and _place(view, one) in passed]
    left = [one for one in now.spot if one not in lost]
    too_many = _youngest(left, len(left) - (target + spare if target else 0))
    cover = on_demand(target, spare, now.spot_ready)
    return [*lost, *too_many, *_youngest(now.on_demand, len(now.on_demand) - cover)]


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
