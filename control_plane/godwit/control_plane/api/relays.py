"""Between control planes: an end of a terminal that reached another one than waits for it is carried there.

Who carries shows what it was shown, the terminal's token or the node's credential, and looks into nothing. It dials
only addresses that control planes wrote into their database, and what was carried once is not carried on.
"""

import asyncio
import contextlib
from typing import Any

import httpx
import structlog
from fastapi import WebSocket, WebSocketDisconnect
from godwit.domain.wire.agents import CommandsReply, CommandsRequest
from godwit.domain.wire.dev import CHUNK_BYTES, OpenTerminal
from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

log = structlog.get_logger()

CARRIED = "x-godwit-carried"
"""A header that says that another control plane carries this line; what it holds is of `vouching`."""

DIAL_S, ASK_S = 5.0, 3.0
MESSAGE_BYTES = 4 * CHUNK_BYTES
NOT_YOURS, TRY_AGAIN = 1008, 1013
"""Close codes: RFC 6455, section 7.4.1, and the registry that section 11.7 began."""

GONE = (RuntimeError, WebSocketDisconnect)
"""What starlette (1.10) raises for an end that was closed before: by us, and by whoever is there."""


def owed_there(url: str, credential: str, known: list[str], vouched: str) -> list[OpenTerminal]:
    """What another control plane has for a node to dial, as that says to the node; nothing where it does not answer."""
    asked = CommandsRequest(known=known, wait_s=0.0)
    headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json", CARRIED: vouched}
    try:
        content = asked.model_dump_json()
        answer = httpx.post(
            f"{url}/v1/agent/commands", content=content, headers=headers, timeout=ASK_S, trust_env=False
        )
        return list(CommandsReply.model_validate_json(answer.raise_for_status().content).terminals)
    except (httpx.HTTPError, ValidationError) as exc:
        # Asked again with the next look, within seconds, for as long as it waits.
        log.warning("a terminal waits at a control plane that does not answer", url=url, why=type(exc).__name__)
        return []


async def carry(url: str, here: WebSocket, vouched: str) -> None:
    """Join `here` to the same path of the control plane at `url`, until either end is gone."""
    headers = {"Authorization": here.headers.get("authorization", ""), CARRIED: vouched}
    try:
        there = await connect(
            url.replace("http", "ws", 1) + here.url.path, additional_headers=headers, compression=None,
            max_size=MESSAGE_BYTES, max_queue=4, ping_interval=None, open_timeout=DIAL_S, proxy=None,
        )  # fmt: skip
    except InvalidStatus:
        await here.close(NOT_YOURS, "the control plane at which it waits does not open it to you")
        return
    except (OSError, TimeoutError, InvalidHandshake) as exc:
        log.warning("a terminal waits at a control plane that does not answer", url=url, why=type(exc).__name__)
        await here.close(TRY_AGAIN, "the control plane at which it waits does not answer; ask for a terminal anew")
        return
    async with there:
        await here.accept()
        ways = [asyncio.create_task(_away(here, there)), asyncio.create_task(_back(there, here))]
        _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in left:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    with contextlib.suppress(*GONE):
        await here.close()


async def _away(here: WebSocket, there: ClientConnection) -> None:
    """Sending waits until the other end takes it, and meanwhile nothing more is read: nothing piles up."""
    while True:
        message: dict[str, Any] = await here.receive()  # type: ignore[assignment]
        if message["type"] != "websocket.receive":
            return
        data = message.get("bytes")
        try:
            await there.send(data if data is not None else message.get("text") or "")
        except WebSocketException:
            return


async def _back(there: ClientConnection, here: WebSocket) -> None:
    while True:
        try:
            message = await there.recv()
            if isinstance(message, bytes):
                await here.send_bytes(message)
            else:
                await here.send_text(message)
        except (ConnectionClosed, RuntimeError):
            return
