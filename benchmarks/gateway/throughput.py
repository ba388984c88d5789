"""The gateway beside other proxies: small requests, in turn, on one machine in one run; and many streams at once.

On a machine that others use too, requests per second are what those leave over. So each proxy is also measured by what
its processes use of a processor for a request, and the ratios are of that: a request costs the same on a busy machine.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from statistics import median

import aiohttp

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.gateway import load, packages, processes
from benchmarks.gateway.processes import PATH, Running
from benchmarks.gateway.replica import Replica

ROUNDS = 3
ROUND_S = 2.0
CONNECTIONS = 32
HALF_LOAD_S = 5.0
STREAMS = 1_000
OPEN_S = 10.0


def measure(folder: Path) -> Iterator[Figure]:
    """Each proxy gets its turn in each round, so that a noisy minute is everybody's."""
    with ExitStack() as stack:
        proxies, missing = _started(stack, folder)
        rates = asyncio.run(_rounds(proxies))
        yield from _ratios(rates)
        for name, why in missing.items():
            yield Figure(f"gateway over {name}", float("nan"), "x", None, f"not measured: {why}")
        half = rates["gateway"][0] / 2
        p99_s = asyncio.run(_at_rate(proxies, half))
    added_ms = 1_000 * (p99_s["gateway"] - p99_s["direct"])
    note = f"at {half:,.0f} requests/s; the quick server alone: {1_000 * p99_s['direct']:.1f} ms"
    yield Figure("gateway: p99 added at half load", added_ms, "ms", at_most(5.0), note)
    plain_ms = 1_000 * (p99_s["plain asyncio"] - p99_s["direct"])
    yield Figure("plain asyncio: p99 added at that rate", plain_ms, "ms", None, "what a busy machine adds to both")
    yield from asyncio.run(_streams(folder))


def _started(stack: ExitStack, folder: Path) -> tuple[dict[str, Running], dict[str, str]]:
    """All that there are, by name; and those that could not be had, with the reason."""
    target = stack.enter_context(processes.target())
    found, missing = {"direct": target}, dict[str, str]()
    found["gateway"] = stack.enter_context(processes.gateway(folder, f"http://127.0.0.1:{target.port}"))
    found["plain asyncio"] = stack.enter_context(processes.plain(target.port))
    for package in packages.PACKAGES:
        python, why = packages.installed(package, folder)
        try:
            if python is None:
                missing[package.name] = why
            else:
                found[package.name] = stack.enter_context(processes.packaged(package, python, target.port))
        except RuntimeError as error:
            missing[package.name] = str(error)
    try:
        found["nginx"] = stack.enter_context(processes.nginx(folder, target.port))
    except RuntimeError as error:
        missing["nginx"] = str(error)
    return found, missing


def _ratios(rates: dict[str, tuple[float, float]]) -> Iterator[Figure]:
    ours, ours_cpu = rates["gateway"]
    note = f"{CONNECTIONS} connections, one core, no access log; {ours_cpu:,.0f} per second of processor"
    yield Figure("gateway: small requests", ours, "1/s", None, note)
    best = max(
        (name for name in rates if name in {one.name for one in packages.PACKAGES}),
        default="",
        key=lambda n: rates[n][1],
    )
    for name, (per_s, per_cpu_s) in rates.items():
        if name in ("direct", "gateway"):
            continue
        note = f"by processor time: {per_cpu_s:,.0f} per second of it; {per_s:,.0f}/s by the clock"
        note += "; the best of the packages" if name == best else ""
        yield Figure(f"gateway over {name}", ours_cpu / per_cpu_s, "x", at_least(0.8) if name == best else None, note)


async def _rounds(proxies: dict[str, Running]) -> dict[str, tuple[float, float]]:
    """Of each, the median over rounds: requests per second, and per second of processor."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in proxies}
    for _ in range(ROUNDS):
        for name, proxy in proxies.items():
            before_s = proxy.cpu_s()
            measured = await load.closed_loop(proxy.port, proxy.path, connections=CONNECTIONS, lasts_s=ROUND_S)
            used_s = max(0.01, proxy.cpu_s() - before_s)
            found[name].append((measured.per_s, len(measured.latencies_s) / used_s))
    return {name: (median(rate for rate, _ in rates), median(cpu for _, cpu in rates)) for name, rates in found.items()}


async def _at_rate(proxies: dict[str, Running], per_s: float) -> dict[str, float]:
    found = {}
    for name in ("direct", "gateway", "plain asyncio"):
        proxy = proxies[name]
        measured = await load.open_loop(proxy.port, proxy.path, per_s=per_s, lasts_s=HALF_LOAD_S, rng=Random(1))
        found[name] = measured.percentile_s(0.99)
    return found


async def _streams(folder: Path) -> Iterator[Figure]:
    """Many streams at once, with an eye on memory."""
    replica = await Replica("r").start()
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        proxy = await loop.run_in_executor(None, lambda: stack.enter_context(processes.gateway(folder, replica.url)))
        before = proxy.resident_bytes()
        whole = await _hold(proxy.port, STREAMS)
        each_kib = (proxy.resident_bytes() - before) / 2**10 / STREAMS
    await replica.kill()
    return iter(
        [Figure(f"gateway: streams held of {STREAMS}", whole, "", at_least(STREAMS), f"{each_kib:.0f} KiB each")]
    )


async def _hold(port: int, streams: int) -> int:
    """Open so many streams one after the other, until all are open at once; count those that came whole."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=180)) as client:

        async def one() -> bool:
            async with client.get(f"http://127.0.0.1:{port}{PATH}/sse?n=20&every_s=1") as response:
                return response.status == 200 and (await response.text()).count("data:") == 20

        async with asyncio.TaskGroup() as group:
            tasks = []
            for _ in range(streams):
                tasks.append(group.create_task(one()))
                await asyncio.sleep(OPEN_S / streams)
        return sum(task.result() for task in tasks)
