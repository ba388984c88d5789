"""Whether a gateway's memory stays flat: ten minutes of small requests, streams and clients that leave."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp

from benchmarks.figures import Figure, at_most
from benchmarks.gateway import load, processes
from benchmarks.gateway.processes import PATH, Running
from benchmarks.gateway.replica import Replica

LASTS_S = 600.0
"""As the goal has it; GODWIT_BENCH_MEMORY_S says otherwise."""

SETTLES = 0.2
"""The part of the time at the beginning in which pools and caches fill."""

TURN_S = 5.0
STREAMS = 20
GROWS_MIB_PER_10_MIN = 5.0


def measure() -> Iterator[Figure]:
    """A mixture of all that a gateway does, over and over; its resident memory after each turn."""
    lasts_s = float(os.environ.get("GODWIT_BENCH_MEMORY_S", LASTS_S))
    with tempfile.TemporaryDirectory(prefix="godwit-gateway-") as folder:
        samples, requests = asyncio.run(_soak(Path(folder), lasts_s))
    settled = [one for one in samples if one[0] >= lasts_s * SETTLES]
    slope = _slope(settled) * 600.0 / 2**20
    note = f"over {lasts_s:.0f} s less a fifth; {requests:,} requests; {samples[-1][1] / 2**20:.0f} MiB at the end"
    yield Figure("gateway: memory grown in 10 min", slope, "MiB", at_most(GROWS_MIB_PER_10_MIN), note)


async def _soak(folder: Path, lasts_s: float) -> tuple[list[tuple[float, float]], int]:
    """(Seconds, bytes) after each turn, and how many requests were answered."""
    replica = await Replica("r").start()
    loop = asyncio.get_running_loop()
    manager = processes.gateway(folder, replica.url)
    proxy: Running = await loop.run_in_executor(None, manager.__enter__)
    began, samples, requests = time.monotonic(), list[tuple[float, float]](), 0
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as client:
            while time.monotonic() - began < lasts_s:
                small = load.closed_loop(proxy.port, f"{PATH}/echo", connections=8, lasts_s=TURN_S)
                measured, streams = await asyncio.gather(small, _streams(client, proxy.port))
                requests += len(measured.latencies_s) + measured.bad + streams
                samples.append((time.monotonic() - began, float(proxy.resident_bytes())))
    finally:
        await loop.run_in_executor(None, manager.__exit__, None, None, None)
        await replica.kill()
    return samples, requests


async def _streams(client: aiohttp.ClientSession, port: int) -> int:
    """Streams that are read to their end, and as many whose clients leave; how many there were."""
    url = f"http://127.0.0.1:{port}{PATH}"

    async def read() -> None:
        async with client.get(f"{url}/sse?n=20&every_s=0.1") as response:
            await response.read()

    async def leave() -> None:
        async with client.get(f"{url}/sse?n=1000&every_s=0.1") as response:
            await response.content.readline()
            response.close()

    async def post() -> None:
        async with client.post(f"{url}/echo", data=b"x" * 300_000) as response:
            await response.read()

    await asyncio.gather(*(one() for one in [read, leave, post] * STREAMS))
    return 3 * STREAMS


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least squares line, in bytes per second."""
    count = len(points)
    if count < 2:
        return float("nan")
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
