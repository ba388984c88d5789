"""The routes of a gateway as an Envoy's configuration: a real Envoy finds it valid, and serves by it."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.routes import Limits, Regulation, ReplicaRoute, RouteTable, ServiceRoute, VersionRoute
from godwit.gateway.envoy.bootstrap import bootstrap, export
from godwit.gateway.settings import Settings

from benchmarks.gateway.replica import Replica, hold
from tests.gateway.certificates import self_signed
from tests.gateway.process import PATIENCE_S, service, until

ENVOY = shutil.which("envoy", path=f"{Path(sys.executable).parent}") or shutil.which("envoy")
pytestmark = pytest.mark.skipif(ENVOY is None, reason="there is no build of Envoy for this machine")

FULL = ServiceRoute(
    name="full",
    project="p",
    keyless=True,
    models=["small", "owner/large:1"],
    hosts=["full.example"],
    affinity="session",
    versions=[
        VersionRoute(name="1", weight=0.9),
        VersionRoute(name="2", weight=0.1),
        VersionRoute(name="3", weight=0.25, shadow=True),
    ],
    replicas=[
        ReplicaRoute(id="a", url="http://127.0.0.1:9001", version="1", zone="north"),
        ReplicaRoute(id="b", url="http://127.0.0.1:9002", version="1", zone="south", state="draining"),
        ReplicaRoute(id="c", url="https://replica.example", version="2"),
    ],
    limits=Limits(connect_s=0.25, retries=0),
    regulation=Regulation(start_concurrency=1, concurrency_max=10, queue_max=0),
)
BARE = ServiceRoute(name="bare", project="p", keyless=True, versions=[VersionRoute(name="1", weight=0.0)])
KEYED = ServiceRoute(name="keyed", project="p", versions=[VersionRoute(name="1")])


def envoy(*arguments: str) -> "subprocess.CompletedProcess[str]":
    assert ENVOY is not None
    return subprocess.run([ENVOY, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize("services", [[], [BARE], [FULL, BARE, KEYED]], ids=["none", "bare", "full"])
def test_a_real_envoy_finds_it_valid(services: list[ServiceRoute], tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    settings = Settings(tls_certificate=certificate, tls_key=key) if services else Settings()
    path = tmp_path / "envoy.yaml"
    path.write_text(export(RouteTable(version=1, services=services), settings, 9901, keyed=True).text)
    checked = envoy("--mode", "validate", "-c", str(path))
    assert checked.returncode == 0, checked.stderr


def test_services_that_need_a_key_are_left_out_unless_they_are_asked_for() -> None:
    table = RouteTable(version=1, services=[FULL, KEYED])
    found = export(table, Settings(), 9901, keyed=False)
    assert found.left_out == ("p/keyed",)
    assert "p/keyed/1" not in found.text
    assert "p/keyed/1" in export(table, Settings(), 9901, keyed=True).text


def clusters(*services: ServiceRoute) -> dict[str, Any]:
    found = bootstrap(list(services), Settings(), 9901)["static_resources"]["clusters"]
    return {one["name"]: one for one in found}


def test_the_limits_of_a_service_are_those_of_its_clusters() -> None:
    one = clusters(FULL)["p/full/1"]
    (bounds,) = one["circuit_breakers"]["thresholds"]
    assert (bounds["max_requests"], bounds["max_pending_requests"]) == (20, 0)
    assert bounds["retry_budget"]["budget_percent"]["value"] == 20.0
    assert one["outlier_detection"]["consecutive_5xx"] == 5
    assert one["outlier_detection"]["max_ejection_percent"] == 50, "one replica always stays"
    assert one["connect_timeout"] == "0.25s"
    states = [end.get("health_status") for zone in one["load_assignment"]["endpoints"] for end in zone["lb_endpoints"]]
    assert states == [None, "DRAINING"]


def test_a_version_with_and_without_tls_is_refused() -> None:
    mixed = FULL.model_copy(update={"versions": [VersionRoute(name="1")]})
    replicas = [one.model_copy(update={"version": "1"}) for one in FULL.replicas]
    with pytest.raises(InvalidRequest, match="with TLS, or none"):
        clusters(mixed.model_copy(update={"replicas": replicas}))


@asynccontextmanager
async def serving(folder: Path, services: list[ServiceRoute]) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """A real Envoy with these services; its address, and a client."""
    with hold(0) as one, hold(0) as other:
        port, admin = one.getsockname()[1], other.getsockname()[1]
    text = export(RouteTable(version=1, services=services), Settings(port=port), admin, keyed=False).text
    (folder / "envoy.yaml").write_text(text)
    assert ENVOY is not None
    alone = ["--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            ENVOY, "-c", f"{folder}/envoy.yaml", *alone, stderr=log, stdout=log
        )
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(timeout=timeout) as client:

        async def is_up() -> bool:
            assert process.returncode is None, (folder / "log").read_text()
            try:
                async with client.get(f"http://127.0.0.1:{admin}/ready") as got:
                    return got.status == 200
            except aiohttp.ClientError:
                return False

        try:
            await until(is_up, "Envoy is ready")
            yield f"http://127.0.0.1:{port}", client
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def test_a_real_envoy_serves_by_it(tmp_path: Path) -> None:
    async def play() -> None:
        live, dead, shadow = await Replica("live").start(), await Replica("dead").start(), await Replica("s").start()
        await dead.kill()
        chat = service([live, dead], hosts=["chat.example"], versions=[{"name": "1"}, {"name": "2", "shadow": True}])
        copied = ReplicaRoute(id="s", url=shadow.url, version="2")
        chat = chat.model_copy(update={"replicas": [*chat.replicas, copied]})
        async with serving(tmp_path, [chat]) as (url, client):
            for _ in range(8):
                async with client.post(f"{url}/services/p/chat/echo?a=b", data=b"x") as got:
                    seen = await got.json()
                    assert (got.status, seen["replica"], seen["target"]) == (200, "live", "/echo?a=b")
            async with client.get(f"{url}/echo", headers={"Host": "chat.example"}) as got:
                assert (await got.json())["target"] == "/echo"
            async with client.post(f"{url}/v1/chat/completions", json={"model": "small", "messages": []}) as got:
                assert (got.status, (await got.json())["target"]) == (200, "/v1/chat/completions")
            async with client.post(f"{url}/v1/chat/completions", json={"model": "other", "messages": []}) as got:
                assert got.status == 404
            async with client.ws_connect(f"{url}/services/p/chat/ws") as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "echo hello"
            await until(lambda: shadow.seen >= 10, "the shadow gets its copies")
        for replica in (live, shadow):
            await replica.kill()

    asyncio.run(play())
