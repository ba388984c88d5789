"""Interactive before batch, and keys held to their requests and tokens, from routes to the client's answer."""

import asyncio
import hashlib
from typing import Any

import uvloop
from godwit.domain.wire.routes import KeyRoute, Regulation
from godwit.gateway.meters import Meters

from benchmarks.gateway.replica import Replica
from tests.gateway.inside import Answer, Inside, inside
from tests.gateway.process import service, until

ECHO, CHAT = "/services/p/chat/echo", "/v1/chat/completions"
ONE_WAITS = Regulation(queue_max=1, queue_wait_s=3_600.0)


def key(name: str, **more: Any) -> KeyRoute:
    text = hashlib.sha256(name.encode()).hexdigest()
    return KeyRoute.model_validate({"id": name, "sha256": text, "project": "p"} | more)


def asked(proxy: Inside, name: str) -> "asyncio.Task[Answer]":
    return asyncio.create_task(proxy.ask(ECHO, headers={"Authorization": f"Bearer {name}"}))


BOTH = [key("hasty"), key("patient", priority="batch")]


def test_an_interactive_key_takes_the_place_of_a_batch_key() -> None:
    async def play() -> None:
        async with inside([service([], keyless=False, regulation=ONE_WAITS)], BOTH) as proxy:
            batch = asked(proxy, "patient")
            await until(lambda: len(proxy.gate.regulator.queue) == 1, "the batch request waits")
            hasty = asked(proxy, "hasty")
            assert ((await batch).status, (await batch).shed) == (503, "displaced-by-interactive")
            assert len(proxy.gate.regulator.queue) == 1
            hasty.cancel()
            await asyncio.gather(hasty, return_exceptions=True)

    asyncio.run(play())


def test_all_requests_of_a_batch_service_are_batch() -> None:
    async def play() -> None:
        async with inside([service([], keyless=False, priority="batch", regulation=ONE_WAITS)], BOTH) as proxy:
            waits = asked(proxy, "patient")
            await until(lambda: len(proxy.gate.regulator.queue) == 1, "the first request waits")
            assert (await asked(proxy, "hasty")).shed == "queue-full"
            waits.cancel()
            await asyncio.gather(waits, return_exceptions=True)

    asyncio.run(play())


def test_a_key_is_held_to_its_own_requests_and_tokens_and_to_nobody_elses() -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        keys = [key("few", requests_per_min=2), key("short", tokens_per_min=18), key("free")]
        async with inside([service([replica], keyless=False)], keys) as proxy:

            async def chat(name: str) -> Answer:
                return await proxy.ask(CHAT, "POST", b'{"model": "small"}', {"X-Api-Key": name})

            for name, allowed, shed in (("few", 2, "key-request-limit"), ("short", 1, "key-token-limit")):
                for _ in range(allowed):
                    assert (await chat(name)).status == 200
                refused = await chat(name)
                assert (refused.status, refused.shed) == (429, shed)
                assert (await chat("free")).status == 200
            assert proxy.gate.tally.tokens_in["small"] == 11 * 5
        await replica.kill()

    asyncio.run(play())


def test_tokens_come_back_with_time_and_debts_are_paid_first() -> None:
    meters, of = Meters(), key("k", tokens_per_min=60)
    assert meters.of(of, 0.0).ask(0.0) is None
    meters.of(of, 0.0).spent(90)
    short = meters.of(of, 0.0).ask(0.0)
    assert short is not None
    assert round(short[1]) == 31
    assert meters.of(of, 30.0).ask(30.0) is not None
    assert meters.of(of, 32.0).ask(32.0) is None


def test_a_wait_that_is_over_by_the_time_it_is_reckoned_with_is_no_error() -> None:
    """uvloop, on which the gateway runs, makes of an instant that has passed a handle without any instant."""

    async def play() -> None:
        async with inside([service([], regulation=Regulation(queue_wait_s=0.001))]) as proxy:
            regulator = proxy.gate.regulator
            regulator.wakes_at = lambda now: now - 1.0  # type: ignore[method-assign]
            found = await asyncio.gather(*(proxy.ask(ECHO) for _ in range(5)))
            assert {answer.shed for answer in found} == {"no-replica"}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())
