"""Services follow what gateways measure: they scale, change their version, or take the change back."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.hints import Hints
from godwit.control_plane.store.database import Database, open_engine
from godwit.scheduler.serving import hedge

from tests.control_plane.replicated import Services
from tests.control_plane.world import CHEAP, DEAR, World

SCALED = {"on": "in-flight", "target": 2, "window": "4s", "down_after": "20s", "idle_after": "30s"}


@pytest.fixture
def services(embedded: World) -> Services:
    """The services of a world without any."""
    return Services(embedded)


def measure(services: Services, seconds: int, **fields: int) -> None:
    """One gateway measures the same for a while."""
    for _ in range(seconds):
        services.world.clock.advance(1.0)
        for agent in services.world.agents:
            agent.beat()
        services.signal(chat=fields)


def test_a_service_grows_with_its_load_and_sleeps_without(services: Services) -> None:
    services.put(replicas="0..3", autoscale=SCALED)
    services.come_up()
    measure(services, 5, in_flight=5, requests=5)
    assert services.service().replicas == 3
    measure(services, 60)
    assert services.service().replicas == 0
    assert {str(one.state) for one in services.replicas()} <= {"draining"}
    reasons = [event.reason for event in services.world.events("service.changed")]
    assert any("nobody wanted anything of it" in reason for reason in reasons)
    measure(services, 1, queued=1)
    assert services.service().replicas == 1, "the first request wakes it"


def test_two_gateways_count_together_and_one_that_is_silent_no_more(services: Services) -> None:
    services.put(replicas="1..8", autoscale=SCALED)
    for _ in range(6):
        services.world.clock.advance(1.0)
        for gateway in ("g-1", "g-2"):
            services.signal(gateway, chat={"in_flight": 4, "requests": 4})
    assert services.service().replicas == 4
    traffic = services.show().traffic
    assert traffic is not None
    assert (traffic.gateways, traffic.in_flight) == (2, 8)
    services.world.clock.advance(40.0)
    assert services.show().traffic is None


def change(services: Services, **more: object) -> None:
    """A second version with one replica of each ready."""
    services.put(replicas=1, rollout={"bake": "5s", "strategy": "canary", "steps": [0.5], **more})
    services.come_up()
    services.put(replicas=1, run="python serve.py --new", rollout={"bake": "5s", "strategy": "canary", "steps": [0.5]})
    services.come_up()


def told(services: Services, failed: int, latency_s: float = 0.1) -> None:
    """A gateway tells how both versions did in its window."""
    replicas = []
    for one in services.replicas("chat", "ready"):
        is_new = one.number == 2
        replicas.append(
            {
                "id": str(one.attempt_id), "version": str(one.number), "answered": 100,
                "failed": failed if is_new else 0, "latency_s": latency_s if is_new else 0.1,
            }
        )  # fmt: skip
    services.signal(chat={"requests": 200, "replicas": replicas})


def test_a_canary_that_does_well_gets_all_requests_in_the_end(services: Services) -> None:
    change(services)
    table = services.routes()
    assert table is not None
    assert {one.name: one.weight for one in table.services[0].versions} == {"1": 0.5, "2": 0.5}
    for _ in range(14):
        services.world.clock.advance(1.0)
        for agent in services.world.agents:
            agent.beat()
        told(services, failed=0)
    shown = services.show()
    assert (shown.version, shown.rollout) == (2, None)
    assert {one.number for one in services.replicas("chat", "ready")} == {2}


@pytest.mark.parametrize(("failed", "latency_s", "why"), [(50, 0.1, "requests failed"), (0, 9.0, "middle latency")])
def test_a_canary_that_does_badly_is_taken_back_by_itself(
    services: Services, failed: int, latency_s: float, why: str
) -> None:
    change(services)
    told(services, failed, latency_s)
    for _ in range(3):
        services.loop.step()
    assert services.service().newest.number == 1
    assert any(why in event.reason for event in services.world.events("service.changed"))
    table = services.routes()
    assert table is not None
    assert [one.version for one in table.services[0].replicas if one.state == "ready"] == ["1"]


def test_a_new_version_is_not_taken_back_for_what_nobody_feels(services: Services) -> None:
    change(services)
    told(services, failed=0, latency_s=0.1)
    services.signal(chat={"requests": 200, "replicas": _few_milliseconds(services)})
    assert services.service().newest.number == 2


def _few_milliseconds(services: Services) -> list[dict[str, object]]:
    """Both versions are quick, and the cold one takes ten times as long."""
    return [
        {
            "id": str(one.attempt_id), "version": str(one.number), "answered": 100,
            "latency_s": 0.02 if one.number == 2 else 0.002,
        }
        for one in services.replicas("chat", "ready")
    ]  # fmt: skip


def test_the_number_of_a_version_is_never_used_twice(services: Services) -> None:
    change(services)
    told(services, failed=50)
    services.loop.step()
    assert services.service().newest.number == 1
    assert services.put(replicas=1, run="python serve.py --newer").version == 3


def test_spot_replicas_are_spread_over_clouds_and_covered_on_demand_until_they_serve(
    sqlite_template: Path, hints: Hints, tmp_path: Path
) -> None:
    path = tmp_path / "godwit.db"
    shutil.copy(sqlite_template, path)
    db = Database(open_engine(f"sqlite:///{path}"), hints.announce)
    one = tuple(replace(shape, gpu_count=1, spot_price_usd_per_hour=1.0, capacity=8) for shape in (CHEAP, DEAR))
    services = Services(World(db, hints, tmp_path, one))  # type: ignore[arg-type]
    services.world.read_offers()
    services.put(replicas=2, spare=1)
    wanted = [services.world.job(one.id).spec.resources for one in services.replicas()]
    assert sorted(resources.spot for resources in wanted) == ["never", "never", "only", "only", "only"]
    places = Counter(str(resources.infra[0]) for resources in wanted if resources.spot == "only")
    assert places == {"cheap/north": 2, "dear/south": 1}
    for _ in range(3):
        services.come_up()

    def alive() -> list[str]:
        there = services.replicas("chat", "starting", "ready")
        return sorted(services.world.job(one.id).spec.resources.spot for one in there)

    assert alive() == ["never", *["only"] * 3], "one cloud gave two of three, and may take them back"
    services.world.clock.advance(hedge.SETTLES_S)
    services.loop.step()
    assert alive() == ["only"] * 3, "what covered them drains once they have settled"
    db.close()
