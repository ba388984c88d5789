"""Routes come from a control plane that may be away, also when the gateway starts."""

import asyncio
import socket
from pathlib import Path

from aiohttp import web
from godwit.domain.wire.routes import GatewaySignals, RouteTable, ServiceRoute

from benchmarks.gateway.replica import Replica, hold
from tests.gateway.process import Running, running, service, until


class ControlPlane:
    """Serves one table, and keeps what gateways tell."""

    def __init__(self) -> None:
        self.table = RouteTable(version=1)
        self.told: list[GatewaySignals] = []
        self.asked: list[str] = []
        self.answers_reports = True
        self.port = 0
        self._runner: web.ServerRunner | None = None
        self._held: socket.socket | None = None

    async def start(self) -> "ControlPlane":
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        if self._held is not None:
            self._held.close()
        return self

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        self._held = hold(self.port)

    def serve(self, version: int, route: ServiceRoute) -> None:
        self.table = RouteTable(version=version, services=[route])

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.headers["authorization"] == "Bearer a-token"
        if request.method == "POST":
            self.told.append(GatewaySignals.model_validate_json(await request.text()))
            return web.Response(status=204 if self.answers_reports else 503)
        self.asked.append(request.query.get("version", ""))
        if request.query.get("version") == str(self.table.version):
            await asyncio.sleep(0.05)
            return web.Response(status=304)
        return web.Response(text=self.table.model_dump_json(), content_type="application/json")


async def served_by(gateway: Running) -> str:
    """Which replica answers, or the status of a refusal."""
    async with gateway.client.get(f"{gateway.chat}/echo") as got:
        return (await got.json())["replica"] if got.status == 200 else str(got.status)


def test_a_gateway_serves_on_while_the_control_plane_is_away_even_after_a_restart(tmp_path: Path) -> None:
    async def play() -> None:
        one, other, plane = await Replica("one").start(), await Replica("other").start(), await ControlPlane().start()
        plane.serve(1, service([one]))
        more = ["--cache", str(tmp_path / "cache" / "routes.json"), "--name", "g-1"]
        env = {"GODWIT_URL": f"http://127.0.0.1:{plane.port}", "GODWIT_TOKEN": "a-token"}
        async with running(tmp_path, more=more, env=env) as gateway:

            async def answers(replica: str) -> bool:
                return await served_by(gateway) == replica

            await until(lambda: answers("one"), "the first routes come")
            plane.serve(2, service([other]))
            await until(lambda: answers("other"), "the next routes come")
            await until(lambda: "2" in plane.asked, "the gateway says which routes it has")
            await until(lambda: any(told.services and told.services[0].requests for told in plane.told), "signals")
            assert plane.told[-1].gateway == "g-1"
            await plane.stop()
            assert await served_by(gateway) == "other"
            assert await gateway.stop() == 0
        assert (tmp_path / "cache" / "routes.json").stat().st_mode & 0o777 == 0o600
        async with running(tmp_path, more=more, env=env) as gateway:
            assert await served_by(gateway) == "other"
            plane.serve(1, service([one]))  # a database that was restored: older, and true
            await plane.start()
            await until(lambda: answers("one"), "the control plane is heard again")
        await plane.stop()
        await one.kill()
        await other.kill()

    asyncio.run(play())


def test_each_request_is_in_one_window_though_reports_are_not_answered_and_the_last_one_says_that_it_leaves(
    tmp_path: Path,
) -> None:
    async def play() -> None:
        plane, replica = await ControlPlane().start(), await Replica("one").start()
        plane.serve(1, service([replica]))
        plane.answers_reports = False
        env = {"GODWIT_URL": f"http://127.0.0.1:{plane.port}", "GODWIT_TOKEN": "a-token"}
        async with running(tmp_path, env=env) as gateway:

            async def answers() -> bool:
                return await served_by(gateway) == "one"

            await until(answers, "the routes come")
            await until(lambda: any(told.services for told in plane.told), "a report")
            plane.answers_reports = True
            last = plane.told[-1].at
            await until(lambda: plane.told[-1].at > last, "another report")
            for _ in range(3):
                assert await answers()
            assert await gateway.stop() == 0
        counted = {told.at: sum(one.requests for one in told.services) for told in plane.told}
        assert len(counted) < len(plane.told), "what was not answered came again"
        assert plane.told[-1].draining
        assert sum(counted.values()) == replica.seen
        await plane.stop()
        await replica.kill()

    asyncio.run(play())


def test_a_damaged_copy_of_the_routes_is_left_aside(tmp_path: Path) -> None:
    async def play() -> None:
        plane, replica = await ControlPlane().start(), await Replica("one").start()
        plane.serve(3, service([replica]))
        cache = tmp_path / "routes.cache"
        cache.write_text('{"version": 1, "serv')
        env = {"GODWIT_URL": f"http://127.0.0.1:{plane.port}", "GODWIT_TOKEN": "a-token"}
        async with running(tmp_path, more=["--cache", str(cache)], env=env) as gateway:

            async def answers() -> bool:
                return await served_by(gateway) == "one"

            await until(answers, "the control plane's routes come")
        await plane.stop()
        await replica.kill()

    asyncio.run(play())


def test_a_gateway_without_any_routes_asks_to_come_back_and_calls_no_key_wrong(tmp_path: Path) -> None:
    async def play() -> None:
        nobody = hold(0)
        env = {"GODWIT_URL": f"http://127.0.0.1:{nobody.getsockname()[1]}", "GODWIT_TOKEN": "a-token"}
        async with running(tmp_path, env=env) as gateway, gateway.client.get(f"{gateway.chat}/echo") as got:
            assert (got.status, got.headers["Retry-After"]) == (503, "1")
            assert "no routes yet" in await got.text()
        nobody.close()

    asyncio.run(play())
