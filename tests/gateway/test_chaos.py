"""Bad clients and bad replicas: none of them harms the others, and the gateway goes on."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from godwit.domain.wire.routes import Limits

from benchmarks.gateway.replica import Replica
from tests.gateway.process import PATIENCE_S, Running, running, service, until


async def say(gateway: Running, *pieces: bytes, half_close: bool = False) -> bytes:
    """Send these bytes over a connection of their own; all that comes back until it is closed.

    Nothing, where it was closed while there was more to read from us: then what was said last may be lost on the way.
    """
    reader, writer = await asyncio.open_connection(*gateway.address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if half_close:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def still_serves(gateway: Running) -> None:
    """Whether others are served as before."""
    async with gateway.client.get(f"{gateway.chat}/echo") as got:
        assert got.status == 200


def test_bad_clients_are_shown_out(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        limits = Limits(body_bytes_max=10_000)
        async with running(tmp_path, [service([replica], limits=limits)], more=["--header-s", "2"]) as gateway:
            head = b"POST /services/p/chat/echo HTTP/1.1\r\nHost: x\r\n"
            slow_loris = [asyncio.create_task(say(gateway, begun)) for begun in [head + b"X-Slow: ", b"\r\n"] * 10]
            many = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(60))
            chunk = b"2710\r\n" + b"y" * 10_000 + b"\r\n"
            for status, pieces in (
                (b" 431 ", [head + many + b"\r\n"]),
                (b" 431 ", [head + b"X-One: " + b"y" * 100_000]),
                (b" 414 ", [b"GET /" + b"y" * 60_000 + b" HTTP/1.1\r\n\r\n"]),
                (b" 400 ", [b"\x16\x03\x01\x02\x00\x01\x00\x01 this is no HTTP\r\n\r\n"]),
                (b" 413 ", [head + b"Content-Length: 99999999\r\n\r\n"]),
                (b" 413 ", [head + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk]),
            ):
                answer = await say(gateway, *pieces)
                assert answer == b"" or status in answer
            assert b"200 OK" not in await say(gateway, head + b"Content-Length: 100\r\n\r\nhalf", half_close=True)
            await still_serves(gateway)
            assert all(answer.startswith(b"HTTP/1.1 408") for answer in await asyncio.gather(*slow_loris))
            await still_serves(gateway)
            assert "Traceback" not in gateway.log
        await replica.kill()

    asyncio.run(play())


def test_nobody_who_may_ask_again_sees_garbage(tmp_path: Path) -> None:
    async def garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff this is no HTTP\r\n\r\n" * 100)
        writer.close()

    async def play() -> None:
        good, bad = await Replica("good").start(), Replica("bad")
        server = await asyncio.start_server(garbage, "127.0.0.1", 0)
        bad.port = server.sockets[0].getsockname()[1]
        async with running(tmp_path, [service([good, bad])]) as gateway:
            for _ in range(30):
                await still_serves(gateway)
            assert "Traceback" not in gateway.log
        server.close()
        await good.kill()

    asyncio.run(play())


def test_an_answer_that_stops_in_the_middle_does_not_look_whole(tmp_path: Path) -> None:
    async def play() -> None:
        replica = await Replica("r1").start()
        limits = Limits(idle_s=1.0, first_byte_s=4.0)
        async with running(tmp_path, [service([replica], limits=limits)]) as gateway:
            for fault in ("hang", "break"):
                with pytest.raises(aiohttp.ClientPayloadError):
                    async with gateway.client.post(f"{gateway.chat}/fault/{fault}") as got:
                        assert await got.read() == b"never"
                await until_free(gateway)
            async with gateway.client.post(f"{gateway.chat}/fault/silent") as got:
                assert (got.status, got.headers["x-godwit-shed"]) == (502, "replica-failed")
            assert "Traceback" not in gateway.log
        await replica.kill()

    asyncio.run(play())


async def until_free(gateway: Running) -> None:
    """Until nothing is in flight any more."""

    async def free() -> bool:
        return bool((await gateway.state())["services"]["p/chat"]["in_flight"] == 0)

    await until(free, "no request is in flight")
