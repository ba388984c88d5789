"""A stampede over real sockets: all replicas die, everybody waits and tries again, and they come back cold."""

import asyncio
from collections import Counter
from pathlib import Path

from godwit.domain.wire.routes import Regulation

from benchmarks.gateway.replica import Character, Replica
from tests.gateway.process import Running, running, service, until

CLIENTS = 60
MOST = 8
RETRY_S = 0.2
"""Clients that do not heed Retry-After: the worst there are."""


async def insist(gateway: Running, seen: Counter[str]) -> None:
    """One client who asks for ever."""
    while True:
        async with gateway.client.get(f"{gateway.chat}/work") as got:
            seen[got.headers.get("x-godwit-shed", str(got.status))] += 1
            if got.status != 200:
                assert int(got.headers["retry-after"]) >= 1
                await asyncio.sleep(RETRY_S)


def test_replicas_that_come_back_cold_are_not_run_over_by_those_who_waited(tmp_path: Path) -> None:
    async def play() -> None:
        character = Character(slots=4, service_s=0.1, warm_up_s=2.0)
        replicas = [await Replica(f"r{number}", character).start() for number in range(3)]
        regulation = Regulation(queue_wait_s=1.0, start_concurrency=2, concurrency_max=MOST)
        async with running(tmp_path, [service(replicas, regulation=regulation)], more=["--no-access-log"]) as gateway:
            seen = Counter[str]()
            clients = [asyncio.create_task(insist(gateway, seen)) for _ in range(CLIENTS)]
            await until(lambda: seen["200"] >= CLIENTS, "the service is warm")
            for replica in replicas:
                await replica.kill()
            refused = seen["no-replica"]
            await until(lambda: seen["no-replica"] > refused, "with nobody to serve, clients are told so")
            answered = seen["200"]
            for replica in replicas:
                replica.peak = 0
                await replica.start()
            await until(lambda: seen["200"] >= answered + CLIENTS, "the service is back")
            # Unregulated, the first one back is given all clients at once.
            assert max(replica.peak for replica in replicas) <= MOST
            failed = [client.exception() for client in clients if client.done()]
            assert failed == []
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        for replica in replicas:
            await replica.kill()

    asyncio.run(play())
