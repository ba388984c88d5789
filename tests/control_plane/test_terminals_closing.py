"""Ends of a terminal are closed whichever of them is gone already."""

import asyncio
from typing import Any, cast

import pytest
from fastapi import WebSocket, WebSocketDisconnect
from godwit.control_plane.api import terminals


class End:
    """A WebSocket that whoever was there has left, in one of the ways in which that shows."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, False

    async def close(self, _code: int, _why: str) -> None:
        self.closed = True
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [WebSocketDisconnect(1006), RuntimeError("once a close message has been sent")])
def test_one_that_is_gone_keeps_none_open(error: Exception) -> None:
    gone, there = End(error), End()
    terminal: Any = type("Open", (), {"ends": {"person": gone, "node": None, "other": cast(WebSocket, there)}})
    asyncio.run(terminals.close(terminal))
    assert gone.closed
    assert there.closed
