"""The gateway beside other proxies: small requests, in turn, on one machine in one run; streams and memory."""

import asyncio
import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from statistics import median

import aiohttp
import psutil
from godwit.domain.wire.routes import ReplicaRoute, RouteTable, ServiceRoute, VersionRoute

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.gateway import load, peers
from benchmarks.gateway.replica import Replica

ROUNDS = 3
ROUND_S = 2.0
CONNECTIONS = 32
HALF_LOAD_S = 5.0
STREAMS = 1_000
OPEN_S = 10.0
SOAK_S = 30.0
START_S = 30.0
PATH = "/services/p/chat/x"

NGINX = """worker_processes 1; daemon off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; upstream u {{ server 127.0.0.1:{target}; keepalive 64; }}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u; proxy_http_version 1.1;
proxy_set_header Connection ""; }} }} }}"""


def measure(folder: Path) -> Iterator[Figure]:
    """Each proxy gets its turn in each round, so that a noisy minute is everybody's."""
    with ExitStack() as stack:
        target = stack.enter_context(_process([sys.executable, "-m", "benchmarks.gateway.load"], []))
        proxies = {"direct": target}
        proxies["gateway"] = stack.enter_context(gateway(folder, f"http://127.0.0.1:{target}"))
        peer = [sys.executable, "-m", "benchmarks.gateway.peers"]
        proxies["plain asyncio"] = stack.enter_context(_process([*peer, "plain"], [str(target)]))
        if importlib.util.find_spec(peers.PACKAGE):
            proxies[peers.PACKAGE] = stack.enter_context(_process([*peer, "package"], [str(target)]))
        if nginx := shutil.which("nginx"):
            proxies["nginx"] = stack.enter_context(_nginx(nginx, folder, target))
        per_s = asyncio.run(_rounds(proxies))
        yield from _ratios(per_s)
        half = per_s["gateway"] / 2
        p99_s = asyncio.run(_at_rate(proxies, half))
    added_ms = 1_000 * (p99_s["gateway"] - p99_s["direct"])
    note = f"at {half:,.0f} requests/s; the quick server alone: {1_000 * p99_s['direct']:.1f} ms"
    yield Figure("gateway: p99 added at half load", added_ms, "ms", at_most(5.0), note)
    plain_ms = 1_000 * (p99_s["plain asyncio"] - p99_s["direct"])
    yield Figure("plain asyncio: p99 added at that rate", plain_ms, "ms", None, "what a busy machine adds to both")
    yield from asyncio.run(_streams(folder))


def _ratios(per_s: dict[str, float]) -> Iterator[Figure]:
    ours = per_s["gateway"]
    yield Figure("gateway: small requests", ours, "1/s", None, f"{CONNECTIONS} connections, one core, no access log")
    plain = per_s["plain asyncio"]
    yield Figure("gateway over plain asyncio", ours / plain, "x", None, f"{plain:,.0f}/s there; no rules, no bounds")
    if package := per_s.get(peers.PACKAGE):
        note = f"{package:,.0f}/s there; the best of its kind that ran"
        yield Figure(f"gateway over {peers.PACKAGE}", ours / package, "x", at_least(0.8), note)
    else:
        yield Figure(f"gateway over {peers.PACKAGE}", float("nan"), "x", None, "not installed here, or no answer")
    if "nginx" in per_s:
        yield Figure("gateway over nginx", ours / per_s["nginx"], "x", None, f"{per_s['nginx']:,.0f}/s there")
    else:
        yield Figure("gateway over nginx", float("nan"), "x", None, "nginx is not on PATH here")


async def _rounds(proxies: dict[str, int]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in proxies}
    for _ in range(ROUNDS):
        for name, port in proxies.items():
            path = PATH if name == "gateway" else "/x"
            measured = await load.closed_loop(port, path, connections=CONNECTIONS, lasts_s=ROUND_S)
            found[name].append(measured.per_s)
    return {name: median(rates) for name, rates in found.items()}


async def _at_rate(proxies: dict[str, int], per_s: float) -> dict[str, float]:
    found = {}
    for name in ("direct", "gateway", "plain asyncio"):
        path = PATH if name == "gateway" else "/x"
        measured = await load.open_loop(proxies[name], path, per_s=per_s, lasts_s=HALF_LOAD_S, rng=Random(1))
        found[name] = measured.percentile_s(0.99)
    return found


async def _streams(folder: Path) -> Iterator[Figure]:
    """Many streams at once, then small requests for a while, with an eye on memory."""
    replica = await Replica("r").start()
    loop = asyncio.get_running_loop()
    stack = ExitStack()
    port, process = await loop.run_in_executor(None, lambda: stack.enter_context(_gateway(folder, replica.url)))
    try:
        resident = psutil.Process(process.pid).memory_info
        before = resident().rss
        whole = await _hold(port, STREAMS)
        with_streams = resident().rss
        await load.closed_loop(port, "/services/p/chat/echo", connections=8, lasts_s=SOAK_S / 3)
        settled = resident().rss
        await load.closed_loop(port, "/services/p/chat/echo", connections=8, lasts_s=SOAK_S)
        grown_mib = (resident().rss - settled) / 2**20
    finally:
        stack.close()
        await replica.kill()
    note = f"{(with_streams - before) / 2**20 * 1024 / STREAMS:.0f} KiB each"
    return iter(
        [
            Figure(f"gateway: streams held of {STREAMS}", whole, "", at_least(STREAMS), note),
            Figure(f"gateway: memory grown in {SOAK_S:.0f} s", grown_mib, "MiB", at_most(2.0), "after it had settled"),
        ]
    )


async def _hold(port: int, streams: int) -> int:
    """Open so many streams one after the other, until all are open at once; count those that came whole."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=180)) as client:

        async def one() -> bool:
            async with client.get(f"http://127.0.0.1:{port}/services/p/chat/sse?n=20&every_s=1") as response:
                return response.status == 200 and (await response.text()).count("data:") == 20

        async with asyncio.TaskGroup() as group:
            tasks = []
            for _ in range(streams):
                tasks.append(group.create_task(one()))
                await asyncio.sleep(OPEN_S / streams)
        return sum(task.result() for task in tasks)


@contextmanager
def gateway(folder: Path, url: str) -> Iterator[int]:
    """A gateway in front of one replica; its port."""
    with _gateway(folder, url) as (port, _process):
        yield port


@contextmanager
def _gateway(folder: Path, url: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    replica = ReplicaRoute(id="r", url=url, version="1")
    routes = ServiceRoute(name="chat", project="p", keyless=True, versions=[VersionRoute(name="1")], replicas=[replica])
    path = folder / "routes.json"
    law = routes.regulation.model_copy(update={"start_concurrency": 1_000, "concurrency_max": 2_000})
    path.write_text(RouteTable(version=1, services=[routes.model_copy(update={"regulation": law})]).model_dump_json())
    port = _free_port()
    command = [sys.executable, "-m", "godwit.gateway", "--port", str(port), "--routes", str(path), "--no-access-log"]
    with _running(command, port) as process:
        yield port, process


@contextmanager
def _nginx(nginx: str, folder: Path, target: int) -> Iterator[int]:
    port = _free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, target=target, port=port))
    with _running([nginx, "-c", str(folder / "nginx.conf"), "-e", "/dev/null"], port):
        yield port


@contextmanager
def _process(command: Sequence[str], more: Sequence[str]) -> Iterator[int]:
    port = _free_port()
    with _running([*command, str(port), *more], port):
        yield port


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{' '.join(command)} does not listen on {port}") from None
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(START_S)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
