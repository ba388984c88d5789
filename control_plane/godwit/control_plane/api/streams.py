"""Server-sent events: what happened, and what jobs print, as it comes.

A stream wakes on hints and by itself, reads the database or the log, and says where it is in each event's id, so that
a reader that comes back with `after` (or Last-Event-ID) misses nothing and sees nothing twice.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from godwit.control_plane import hints
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import JobRef
from godwit.control_plane.api.standing import Standing
from godwit.control_plane.api.state import Godwit, State
from godwit.control_plane.services import logs, views
from godwit.control_plane.store import arrays, queries
from godwit.domain import lifecycle
from godwit.domain.events import Event
from godwit.domain.jobs import Job

router = APIRouter(prefix="/v1")

KEEP_ALIVE_S = 10.0
"""Silence after which a comment is sent, so that proxies and readers know that the stream lives."""

FOLLOW_S = 1.0
"""Where there are several control planes, another one may write what a job prints; that is looked for this often.

A hint for each piece of output would cost the database more than a few readers do.
"""

STILL_HERE = ": still here\n\n"

_BATCH = 200
_EVENT_ID = re.compile("[0-9]{1,15}")
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}
}


JobQuery = Annotated[str | None, Query(max_length=64, description="Only of this job or array: its id, or a name.")]


def message(kind: str, message_id: str, data: str) -> str:
    """One server-sent event."""
    return f"event: {kind}\nid: {message_id}\ndata: {data}\n\n"


@router.get("/events/stream", responses=EVENT_STREAM, response_class=StreamingResponse)
async def stream_events(
    request: Request, state: Godwit, _actor: Actor, job: JobQuery = None, after: int = Query(0, ge=0, le=2**53)
) -> StreamingResponse:
    """Events as they happen, from number `after` on."""
    about = {} if job is None else await run_in_threadpool(_subject, state, job)
    last = last_event_id(request)
    return streaming(request, _events(state, about, after if last is None else last))


@router.get("/jobs/{job}/logs/stream", responses=EVENT_STREAM, response_class=StreamingResponse)
async def stream_logs(
    request: Request, state: Godwit, _actor: Actor, job: JobRef, after: str = Query("", max_length=64)
) -> StreamingResponse:
    """A job's output as it comes, from cursor `after` on, and one `end` once the job is final and its log is read."""
    job_id = (await run_in_threadpool(_find, state, job)).id
    cursor = logs.parse_cursor(request.headers.get("last-event-id") or after)
    return streaming(request, _output(state, job_id, cursor))


def last_event_id(request: Request) -> int | None:
    """The number of the last event that the reader has, if it comes back; None for what was not given out."""
    found = _EVENT_ID.fullmatch(request.headers.get("last-event-id", ""))
    return int(found[0]) if found else None


def streaming(request: Request, content: AsyncGenerator[str]) -> StreamingResponse:
    """An answer that does not end, unless what lets its reader read does: then it ends at once."""
    return StreamingResponse(
        _while_it_lasts(Standing.of(request), content),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


async def _while_it_lasts(standing: Standing, content: AsyncGenerator[str]) -> AsyncIterator[str]:
    async with aclosing(content):
        over = asyncio.create_task(standing.over())
        try:
            while True:
                piece = asyncio.ensure_future(anext(content, None))
                try:
                    await asyncio.wait({piece, over}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if over.done() or not piece.done():
                        piece.cancel()
                        await asyncio.gather(piece, return_exceptions=True)
                if over.done() or (said := piece.result()) is None:
                    return
                yield said
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)


async def _events(state: State, about: Mapping[str, str], after: int) -> AsyncGenerator[str]:
    while True:
        seen = state.context.hints.count(hints.EVENTS)
        batch = await run_in_threadpool(_read_events, state, about, after)
        for event in batch:
            after = event.seq
            yield message("event", str(event.seq), views.event(event).model_dump_json())
        if not batch and not await state.context.hints.wait_async(hints.EVENTS, seen, KEEP_ALIVE_S):
            yield STILL_HERE


async def _output(state: State, job_id: str, cursor: logs.Cursor) -> AsyncGenerator[str]:
    topic, silent_s = hints.log_of(job_id), 0.0
    pause_s = FOLLOW_S if state.terminals.url else KEEP_ALIVE_S
    while True:
        seen = state.context.hints.count(topic)
        # The job is read before its log: if it is final by then, the log that follows is all there is.
        job = await run_in_threadpool(_find, state, job_id)
        cursor_after, text = await run_in_threadpool(state.logs.read, job_id, cursor)
        if text:
            cursor, silent_s = cursor_after, 0.0
            yield message("log", str(cursor), json.dumps({"epoch": cursor.epoch, "text": text}))
        elif lifecycle.is_final(job.state):
            yield message("end", str(cursor), json.dumps({"state": job.state, "exit_code": job.exit_code}))
            return
        elif not await state.context.hints.wait_async(topic, seen, pause_s):
            silent_s += pause_s
            if silent_s >= KEEP_ALIVE_S:
                silent_s = 0.0
                yield STILL_HERE


def _find(state: State, job: str) -> Job:
    with state.context.db.read() as conn:
        return queries.job(conn, job)


def _subject(state: State, job: str) -> Mapping[str, str]:
    with state.context.db.read() as conn:
        return arrays.subject(conn, job)


def _read_events(state: State, about: Mapping[str, str], after: int) -> list[Event]:
    with state.context.db.read() as conn:
        return queries.events(conn, after, _BATCH, **about)
