"""Terminals to dev environments: asked for over HTTP, then two WebSockets that are joined here, byte for byte."""

import asyncio
import contextlib
import json
from typing import Any

import structlog
from fastapi import APIRouter, Request, WebSocket
from fastapi.concurrency import run_in_threadpool
from godwit.control_plane import vouching
from godwit.control_plane.api import relays
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import JobRef
from godwit.control_plane.api.standing import Standing
from godwit.control_plane.api.state import Godwit, State
from godwit.control_plane.services.terminals import JOIN_S, Terminal
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import GodwitError
from godwit.domain.wire.dev import CHUNK_BYTES, TerminalOpened, TerminalWanted
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

router = APIRouter(prefix="/v1")

LOOK_S = 10.0
"""How often it is looked whether the environment still runs."""

NORMAL, NOT_YOURS, TOO_LARGE = 1000, 1008, 1009
"""Close codes of RFC 6455, section 7.4.1."""

SHUT_OUT = "what let you open it has ended: log in again, or ask an administrator"

ID_CHARACTERS_MAX = 64

_OTHER = {"person": "agent", "agent": "person"}


@router.post("/jobs/{job}/terminals", status_code=201)
def open_terminal(request: Request, state: Godwit, actor: Actor, job: JobRef, wanted: TerminalWanted) -> TerminalOpened:
    """A terminal to a dev environment that runs, or a command there. Dial `/v1/terminals/{id}` with the token soon."""
    return state.terminals.open(state.context, job, wanted, actor, Standing.of(request))


@router.websocket("/terminals/{terminal_id}")
async def person(websocket: WebSocket, terminal_id: str) -> None:
    """The end of the person who asked."""
    state: State = websocket.app.state.godwit
    if await _carried(state, terminal_id, websocket):
        return
    try:
        terminal = state.terminals.of_person(terminal_id, _bearer(websocket), state.context.now())
    except GodwitError as exc:
        await websocket.close(NOT_YOURS, exc.message[:120])
        return
    if not await terminal.standing.lasts():
        state.terminals.forget(terminal)
        await websocket.close(NOT_YOURS, SHUT_OUT)
        return
    await _join(state, terminal, "person", websocket)


@router.websocket("/agent/terminals/{terminal_id}")
async def agent(websocket: WebSocket, terminal_id: str) -> None:
    """The end of the node."""
    state: State = websocket.app.state.godwit
    if await _carried(state, terminal_id, websocket):
        return

    def find() -> Terminal:
        with state.context.db.read() as conn:
            return state.terminals.of_agent(state.context, Transaction(conn), terminal_id, _bearer(websocket))

    try:
        terminal = await run_in_threadpool(find)
    except GodwitError as exc:
        await websocket.close(NOT_YOURS, exc.message[:120])
        return
    await _join(state, terminal, "agent", websocket)


async def _carried(state: State, terminal_id: str, websocket: WebSocket) -> bool:
    """Whether the terminal waits at another control plane; then this end was carried there, until it was over."""

    def find() -> str | None:
        with state.context.db.read() as conn:
            return state.terminals.whereabouts(conn, terminal_id)

    if not state.terminals.url or relays.CARRIED in websocket.headers or len(terminal_id) > ID_CHARACTERS_MAX:
        return False
    url = await run_in_threadpool(find)
    if url is None:
        return False
    vouched = vouching.vouch(state.context.keyring, _bearer(websocket), state.context.now())
    await relays.carry(url, websocket, vouched)
    return True


def _bearer(websocket: WebSocket) -> str:
    return websocket.headers.get("authorization", "").removeprefix("Bearer ").strip()


async def _join(state: State, terminal: Terminal, side: str, websocket: WebSocket) -> None:
    """Wait for the other end, then carry what comes from this one until either is gone."""
    await websocket.accept()
    terminal.ends[side] = websocket
    if terminal.ends.get(_OTHER[side]) is not None:
        terminal.joined.set()
    watch = None
    try:
        await asyncio.wait_for(terminal.joined.wait(), JOIN_S)
        if side == "person":
            watch = asyncio.create_task(_watch(state, terminal))
        await _carry(state, terminal, websocket, terminal.ends[_OTHER[side]])
    except TimeoutError:
        why = "its node did not dial in; ask again, and look at the node with `godwit nodes` if that goes on"
        with contextlib.suppress(*relays.GONE):
            await websocket.send_text(json.dumps({"refused": why}))
    finally:
        if watch is not None:
            watch.cancel()
        state.terminals.forget(terminal)
        await close(terminal)


async def _carry(state: State, terminal: Terminal, here: WebSocket, there: WebSocket) -> None:
    """Sending waits until the other end takes it, and meanwhile nothing more is read here: nothing piles up."""
    while True:
        message: dict[str, Any] = await here.receive()  # type: ignore[assignment]
        if message["type"] != "websocket.receive":
            return
        data = message.get("bytes")
        text = message.get("text")
        if len(data or text or "") > 2 * CHUNK_BYTES:
            await here.close(TOO_LARGE)
            return
        terminal.moved_at = state.context.now()
        try:
            if data is not None:
                await there.send_bytes(data)
            elif text is not None:
                await there.send_text(text)
        except relays.GONE:
            return


async def _watch(state: State, terminal: Terminal) -> None:
    """Close a terminal when its environment ends, and at once when its person is shut out."""
    shut_out = asyncio.create_task(terminal.standing.over())
    looks = asyncio.create_task(_environment_ends(state, terminal))
    try:
        await asyncio.wait({shut_out, looks}, return_when=asyncio.FIRST_COMPLETED)
        await (close(terminal, NOT_YOURS, SHUT_OUT) if shut_out.done() else close(terminal))
    finally:
        for task in (shut_out, looks):
            task.cancel()
        await asyncio.gather(shut_out, looks, return_exceptions=True)


async def _environment_ends(state: State, terminal: Terminal) -> None:
    while True:
        try:
            if await run_in_threadpool(state.terminals.is_over, state.context, terminal):
                return
        except SQLAlchemyError as exc:
            log.warning("whether an environment still runs is not known", why=type(exc).__name__)
        await asyncio.sleep(LOOK_S)


async def close(terminal: Terminal, code: int = NORMAL, why: str = "") -> None:
    """Close both ends of it; one that is gone already is left out."""
    for end in terminal.ends.values():
        with contextlib.suppress(*relays.GONE):
            if end is not None:
                await end.close(code, why)
