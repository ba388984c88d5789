"""What a request costs that does nothing: the same server, an application of four lines, as many a second.

Machines differ, and one machine from hour to hour; what a heartbeat costs is told as a multiple of this, too.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import uvicorn

from benchmarks.many_agents.line import Line

CONNECTIONS, RATE, SETTLE_S, WINDOW_S = 1_000, 400.0, 2.0, 10.0
ANSWER = b'{"lease_s":30.0,"heartbeat_s":5.0,"acknowledged_seq":0,"fenced":[]}'


def cost_ms() -> float:
    """Milliseconds of CPU of each request."""
    return asyncio.run(_cost_ms())


async def _cost_ms() -> float:
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.many_agents.floor"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        port = int(await asyncio.to_thread(server.stdout.readline))
        lines, answered = [Line(port) for _ in range(CONNECTIONS)], [0]
        asking = [asyncio.create_task(_ask(line, i / RATE, answered)) for i, line in enumerate(lines)]
        await asyncio.sleep(CONNECTIONS / RATE + SETTLE_S)
        process = psutil.Process(server.pid)
        before, first = sum(process.cpu_times()[:2]), answered[0]
        await asyncio.sleep(WINDOW_S)
        spent_s, count = sum(process.cpu_times()[:2]) - before, answered[0] - first
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        return 1000.0 * spent_s / count
    finally:
        server.kill()
        server.wait()


async def _ask(line: Line, first_s: float, answered: list[int]) -> None:
    body = json.dumps({"agent_id": "agent-00000001", "sent_at": 123.4, "attempts": [], "observations": []}).encode()
    await asyncio.sleep(first_s)
    while True:
        await line.ask("/", "token", body, 30.0)
        answered[0] += 1
        await asyncio.sleep(CONNECTIONS / RATE)


async def _application(_scope: object, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"{self.servers[0].sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    config = uvicorn.Config(_application, port=0, log_level="error", access_log=False, lifespan="off")
    _Server(config).run()
