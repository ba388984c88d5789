"""What goes through a real gateway to real sockets, and comes back."""

import asyncio
import signal
from pathlib import Path

from benchmarks.gateway.replica import Replica
from tests.gateway.process import KEY, PATIENCE_S, key, running, service, until, write

BEARER = {"Authorization": f"Bearer {KEY}"}


def test_requests_streams_and_websockets_reach_a_replica(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        async with running(tmp_path, [service([replica])]) as gateway:
            sent = {"X-Request-Id": "mine", "Connection": "close, X-Mine", "X-Mine": "of this connection"}
            async with gateway.client.put(f"{gateway.chat}/echo?a=%20b", data=b"x" * 3_000_000, headers=sent) as got:
                seen = await got.json()
                assert (got.status, seen["target"], seen["bytes"]) == (200, "/echo?a=%20b", 3_000_000)
                assert got.headers["x-request-id"] == seen["headers"]["x-request-id"] == "mine"
                assert "x-mine" not in seen["headers"]
            async with gateway.client.get(f"{gateway.chat}/sse?n=5") as got:
                assert got.headers["content-type"] == "text/event-stream"
                assert (await got.text()).count("data:") == 5
            async with gateway.client.ws_connect(f"{gateway.chat}/ws") as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "echo hello"
                await socket.send_bytes(b"\x00\x01")
                assert await socket.receive_bytes() == b"\x00\x01"
            assert await gateway.stop() == 0
            assert "Traceback" not in gateway.log
        await replica.kill()

    asyncio.run(play())


def test_keys_open_models_and_are_held_to_their_limits(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        keyed = service([replica], keyless=False)
        async with running(tmp_path, [keyed], keys=[key(tokens_per_min=30)]) as gateway:
            ask, chat = {"model": "small", "messages": []}, f"{gateway.url}/v1/chat/completions"
            async with gateway.client.post(chat, json=ask) as got:
                assert got.status == 401
            async with gateway.client.post(chat, json=ask | {"model": "other"}, headers=BEARER) as got:
                assert got.status == 404
            async with gateway.client.post(chat, data=b"not json", headers=BEARER) as got:
                assert got.status == 400
            async with gateway.client.get(f"{gateway.url}/v1/models", headers=BEARER) as got:
                assert [one["id"] for one in (await got.json())["data"]] == ["small"]
            for _ in range(2):  # 18 tokens each
                async with gateway.client.post(chat, json=ask, headers=BEARER) as got:
                    assert "authorization" not in (await got.json())["headers"]
            async with gateway.client.post(chat, json=ask, headers=BEARER) as got:
                assert (got.status, got.headers["x-godwit-shed"]) == (429, "key-token-limit")
                assert int(got.headers["retry-after"]) >= 1
            async with gateway.client.get(f"{gateway.url}/-/metrics") as got:
                metrics = await got.text()
            tokens = 'godwit_gateway_tokens_total{direction="%s",model="small",project="p",service="chat"} %s'
            assert tokens % ("in", "22.0") in metrics
            assert tokens % ("out", "14.0") in metrics
            assert KEY not in gateway.log
        await replica.kill()

    asyncio.run(play())


def test_a_dead_replica_is_passed_over_and_new_routes_are_taken_up(tmp_path: Path) -> None:
    async def play() -> None:
        dead, live = await Replica("dead").start(), await Replica("live").start()
        await dead.kill()
        async with running(tmp_path, [service([dead, live])]) as gateway:
            for _ in range(10):
                async with gateway.client.post(f"{gateway.chat}/echo", data=b"x") as got:
                    assert (got.status, (await got.json())["replica"]) == (200, "live")
            newer = await Replica("newer").start()
            write(tmp_path, [service([newer])], version=2)

            async def taken_up() -> bool:
                return bool((await gateway.state())["routes_version"] == 2)

            await until(taken_up, "the gateway reads its file again")
            async with gateway.client.get(f"{gateway.chat}/echo") as got:
                assert (await got.json())["replica"] == "newer"
            await newer.kill()
        await live.kill()

    asyncio.run(play())


def test_what_was_not_answered_is_sent_again_only_where_that_is_safe(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        async with running(tmp_path, [service([replica])]) as gateway:
            async with gateway.client.post(f"{gateway.chat}/fault/error", data=b"x") as got:
                assert (got.status, await got.text()) == (500, "broken")
            async with gateway.client.get(f"{gateway.chat}/fault/busy") as got:
                assert (got.status, await got.text()) == (503, "enough")
            assert replica.seen == 1 + 3  # an error is an answer; a replica that is busy is asked twice more
        await replica.kill()

    asyncio.run(play())


def test_a_gateway_that_leaves_ends_what_it_has(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        async with running(tmp_path, [service([replica])]) as gateway:
            async with gateway.client.get(f"{gateway.chat}/sse?n=20&every_s=0.05") as got:
                await got.content.readline()
                stopping = asyncio.create_task(gateway.stop())
                assert (await got.text()).count("data:") == 19
            assert await stopping == 0
        await replica.kill()

    asyncio.run(play())


def test_what_has_come_when_a_gateway_is_asked_to_leave_is_answered(tmp_path: Path) -> None:
    """The process stands still while clients connect and ask, and is asked to leave before it has read a byte."""

    async def play() -> None:
        replica = await Replica("r1").start()
        async with running(tmp_path, [service([replica])]) as gateway:
            asks = b"GET /services/p/chat/echo HTTP/1.1\r\nHost: x\r\n\r\n"
            kept = await asyncio.open_connection(*gateway.address)
            kept[1].write(asks)
            assert b" 200 " in await kept[0].readuntil(b"\r\n\r\n")
            gateway.process.send_signal(signal.SIGSTOP)
            kept[1].write(asks)
            others = [await asyncio.open_connection(*gateway.address) for _ in range(100)]
            for _, writer in others:
                writer.write(asks)
                await writer.drain()
            gateway.process.send_signal(signal.SIGTERM)
            gateway.process.send_signal(signal.SIGCONT)
            said = await asyncio.gather(*(asyncio.wait_for(reader.read(), PATIENCE_S) for reader, _ in [kept, *others]))
            assert all(answer.count(b"HTTP/1.1 ") == 1 for answer in said), "nobody is reset, and nobody left out"
            assert sum(b"HTTP/1.1 200 " in answer for answer in said) >= 1, "be it that some come too many at once"
            assert await asyncio.wait_for(gateway.process.wait(), PATIENCE_S) == 0
            for _, writer in [kept, *others]:
                writer.close()
        await replica.kill()

    asyncio.run(play())


def test_a_client_that_leaves_is_not_worked_for_any_longer(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        async with running(tmp_path, [service([replica])]) as gateway:
            got = await gateway.client.get(f"{gateway.chat}/sse?n=100000&every_s=0.05")
            await got.content.readline()
            got.close()
            await until(lambda: replica.cancelled == 1, "the replica hears that the client left")
            impatient = asyncio.create_task(gateway.client.get(f"{gateway.chat}/fault/silent").__aenter__())
            await until(lambda: replica.seen == 2, "the second request comes")
            impatient.cancel()
            await until(lambda: replica.cancelled == 2, "the replica hears it before the head too")

            async def nothing_left() -> bool:
                return bool((await gateway.state())["services"]["p/chat"]["in_flight"] == 0)

            await until(nothing_left, "its place is free again")
        await replica.kill()

    asyncio.run(play())
