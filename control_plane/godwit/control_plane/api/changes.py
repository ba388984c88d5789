"""What changed, as server-sent events for those who look: names only, so that they read again what they show."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from godwit.control_plane import hints
from godwit.control_plane.api import streams
from godwit.control_plane.api.access import Who
from godwit.control_plane.api.state import Godwit, State
from godwit.control_plane.store import schema
from godwit.domain.wire.overview import ChangeView, Resource
from sqlalchemy import Column, Row, func, select

router = APIRouter(prefix="/v1")

PAUSE_S = 0.5
"""Between two messages: a gang's start is a hundred events, and who looks reads again once."""

NAMED_MAX = 100
"""Ids of one resource in one message; with more than these, all of it is to be read again."""

_BATCH = 2_000
_RESOURCES: dict[str, Resource] = {
    "job": "jobs",
    "attempt": "jobs",
    "node": "nodes",
    "incident": "incidents",
    "service": "services",
    "replica": "services",
    "project": "projects",
    "provider": "providers",
    "migration": "migrations",
}


@router.get("/changes/stream", responses=streams.EVENT_STREAM, response_class=StreamingResponse)
async def stream_changes(
    request: Request, state: Godwit, caller: Who, after: Annotated[int | None, Query(ge=0, le=2**53)] = None
) -> StreamingResponse:
    """A `ChangeView` twice a second at the most, from event `after` on or from now on; the first says where that is."""
    last = streams.last_event_id(request)
    # The ids of other projects' jobs are nothing to one that is bound to a project: it is told to read all it may.
    return streams.streaming(request, _changes(state, after if last is None else last, is_named=caller.project is None))


async def _changes(state: State, after: int | None, *, is_named: bool) -> AsyncGenerator[str]:
    if after is None:
        after = await run_in_threadpool(_newest, state)
    yield _message(ChangeView(seq=after, at=state.context.now(), changed={}))
    while True:
        seen = state.context.hints.count(hints.EVENTS)
        rows = await run_in_threadpool(_read, state, after)
        if rows:
            after = rows[-1].seq
            found = changed(rows) if is_named else {resource: [] for resource in changed(rows)}
            yield _message(ChangeView(seq=after, at=state.context.now(), changed=found))
            await asyncio.sleep(PAUSE_S)
        elif not await state.context.hints.wait_async(hints.EVENTS, seen, streams.KEEP_ALIVE_S):
            yield streams.STILL_HERE


def changed(rows: Sequence[Row[Any]]) -> dict[Resource, list[str]]:
    """Ids by resource, each once; an empty list stands for more than are named."""
    found: dict[Resource, dict[str, None]] = {}
    for row in rows:
        resource = _RESOURCES.get(row.subject, "other")
        found.setdefault(resource, {})[row.job_id if row.subject == "attempt" else row.subject_id] = None
        if row.job_id is not None:
            found.setdefault("jobs", {})[row.job_id] = None
        if row.node_id is not None:
            found.setdefault("nodes", {})[row.node_id] = None
    return {resource: list(ids) if len(ids) <= NAMED_MAX else [] for resource, ids in found.items()}


def _message(of: ChangeView) -> str:
    return streams.message("change", str(of.seq), of.model_dump_json())


def _newest(state: State) -> int:
    with state.context.db.read() as conn:
        return int(conn.execute(select(func.max(schema.events.c.seq))).scalar() or 0)


def _read(state: State, after: int) -> Sequence[Row[Any]]:
    table = schema.events
    columns: list[Column[Any]] = [table.c.seq, table.c.subject, table.c.subject_id, table.c.job_id, table.c.node_id]
    with state.context.db.read() as conn:
        return conn.execute(select(*columns).where(table.c.seq > after).order_by(table.c.seq).limit(_BATCH)).all()
