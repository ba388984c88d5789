"""Which of the replicas that have room is given a request.

Power of two choices (Mitzenmacher, "The power of two choices in randomized load balancing", 2001): of two drawn at
random, the one with less to do. What it has to do is its requests times its latency, as in Finagle's peak EWMA.
"""

import hashlib
from collections.abc import Mapping, Sequence
from random import Random

from godwit.gateway.regulator.replicas import Replica


def choose(
    replicas: Sequence[Replica], weights: Mapping[str, float], now: float, rng: Random, affinity: str = ""
) -> Replica | None:
    """The replica for the next request, None when none has room. `weights`: of versions, by name.

    With `affinity`, all requests of one value go to one replica while it has room. A version that has no room leaves
    its part to the others.
    """
    open_ones = [replica for replica in replicas if replica.has_room(now) and weights.get(replica.version, 0.0) > 0]
    if not open_ones:
        return None
    if len(weights) > 1:
        version = _draw(open_ones, weights, rng)
        open_ones = [replica for replica in open_ones if replica.version == version]
    if len(open_ones) == 1:
        return open_ones[0]
    if affinity:
        return max(open_ones, key=lambda replica: _rank(affinity, replica.id))
    return _less_loaded(open_ones, rng)


def _less_loaded(open_ones: Sequence[Replica], rng: Random) -> Replica:
    first = int(rng.random() * len(open_ones))
    second = int(rng.random() * (len(open_ones) - 1))
    one, other = open_ones[first], open_ones[second + (second >= first)]
    return one if _load(one, other) <= _load(other, one) else other


def _load(replica: Replica, beside: Replica) -> float:
    # A new one is taken to be as quick as the other: as the quickest, it would be given everything.
    latency_s = replica.latency_s or beside.latency_s or 1.0
    return (replica.in_flight + 1) * latency_s


def _draw(open_ones: Sequence[Replica], weights: Mapping[str, float], rng: Random) -> str:
    versions = sorted({replica.version for replica in open_ones})
    return rng.choices(versions, [weights[version] for version in versions])[0]


def _rank(affinity: str, replica_id: str) -> bytes:
    """Rendezvous hashing (Thaler & Ravishankar, 1998): when a replica leaves, only what it had moves."""
    return hashlib.blake2b(f"{affinity}\n{replica_id}".encode(), digest_size=8).digest()
