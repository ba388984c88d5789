"""The market: how long a search takes among 10,000 offers, and how long a refresh of eight slow providers."""

import json
import sqlite3
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from godwit.control_plane.store import entities
from godwit.domain.errors import InvariantBroken
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing

from benchmarks import homes, stages
from benchmarks.figures import Figure, at_most

OFFERS = 10_000
ROUNDS = 7
PROVIDERS = 8
LATENCY_S = 0.2

_OFFER = Offer(ProviderName("bench"), "r", None, "t", "H100-SXM", 8, 80.0, 200, 1800.0, 20.0)
_SEARCH = ("offers", "--gpus", "H100:8", "--spot", "--max-price", "2.5")


def measure() -> Iterator[Figure]:
    """Both figures."""
    yield from _search()
    yield _refresh()


def _search() -> Iterator[Figure]:
    with homes.serving() as home:
        _fill(home.folder / "godwit.db")
        seconds = [_timed(home, *_SEARCH) for _ in range(ROUNDS)]
        nothing = [_timed(home, "version") for _ in range(ROUNDS)]
    note = f"godwit {' '.join(_SEARCH)}: the whole command, median of {ROUNDS}"
    yield Figure(f"market: search in {OFFERS:,} offers", statistics.median(seconds), "s", at_most(0.3), note)
    yield Figure("market: godwit version", statistics.median(nothing), "s", note="baseline: one request, no search")


def _timed(home: homes.Home, *words: str) -> float:
    began = time.monotonic()
    homes.godwit(home.folder, *words, timeout_s=30)
    return time.monotonic() - began


def _fill(database: Path) -> None:
    rows = [
        entities.offer_row(
            replace(
                _OFFER,
                region=f"r{number % 40}",
                instance_type=f"t{number}",
                gpu_model=("H100-SXM", "H200-SXM", "A100-80GB-SXM", "L40S")[number % 4],
                gpu_count=(1, 2, 4, 8)[number // 4 % 4],
                spot=number % 2 == 0,
                price_usd_per_hour=1.0 + number % 97,
                seen_at=time.time(),
            )
        )
        for number in range(OFFERS)
    ]
    names = list(rows[0])
    with sqlite3.connect(database, timeout=30) as connection:
        marks = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO offers ({', '.join(names)}) VALUES ({marks})", rows)
    connection.close()


class _Slow:
    """A provider that answers everything after `LATENCY_S`."""

    capabilities = Capabilities()

    def __init__(self, name: str) -> None:
        self.name = ProviderName(name)

    def check(self) -> Standing:
        return Standing("bench")

    def offers(self) -> Sequence[Offer]:
        time.sleep(LATENCY_S)
        return [replace(_OFFER, provider=self.name, instance_type=f"t{n}", seen_at=time.time()) for n in range(100)]

    def instances(self) -> Sequence[Instance]:
        time.sleep(LATENCY_S)
        return []

    def launch(self, request: LaunchRequest) -> Instance:
        raise InvariantBroken(f"nothing is bought here, not even {request.offer.key}")

    def terminate(self, instance_id: InstanceId) -> None:
        raise InvariantBroken(f"nothing is ended here, not even {instance_id}")


def _refresh() -> Figure:
    rounds = [_refresh_once() for _ in range(3)]
    note = f"{PROVIDERS} providers of {LATENCY_S * 1000:.0f} ms, 100 offers each, against the slowest; " + json.dumps(
        [round(seconds, 3) for seconds in rounds]
    )
    ratio = statistics.median(rounds) / LATENCY_S
    return Figure("market: refresh of all / of one", ratio, "ratio", at_most(1.5), note)


def _refresh_once() -> float:
    providers = {ProviderName(f"slow{n}"): _Slow(f"slow{n}") for n in range(PROVIDERS)}
    with stages.running(providers) as stage:
        began = time.monotonic()
        stage.wait_for(lambda: stage.count("offers") == 100 * PROVIDERS, within_s=30)
        return time.monotonic() - began
