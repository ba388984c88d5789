"""Routes of what is looked at all day: the whole fleet in one answer, and the first screen."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from godwit.control_plane.api.access import Who
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import overview
from godwit.domain.wire.fleet import FleetView
from godwit.domain.wire.overview import OverviewView, QueueView

router = APIRouter(prefix="/v1")

_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "what If-None-Match names is still so"}}


@router.get("/fleet", response_model=FleetView, responses=_UNCHANGED)
def get_fleet(
    state: Godwit,
    caller: Who,
    if_none_match: Annotated[str | None, Header(max_length=1024)] = None,
    accept_encoding: Annotated[str | None, Header(max_length=1024)] = None,
) -> Response:
    """Every living node and GPU, in columns, made to be drawn. Its version is its ETag."""
    found = state.fleet_views.get(state.context, caller.project)
    headers = {"ETag": f'"{found.version}"', "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Cookie"}
    if found.version in (if_none_match or ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in (accept_encoding or ""):
        return Response(found.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type="application/json")
    return Response(found.plain, headers=headers, media_type="application/json")


@router.get("/overview")
def get_overview(state: Godwit, caller: Who) -> OverviewView:
    """What is broken, what is idle and costs how much, who waits and why, what services lack, and the money."""
    queue = state.queue.get(state.context, caller.project)
    return overview.first_screen(state.context, state.contacts(), queue, caller.project)


@router.get("/queue")
def get_queue(state: Godwit, caller: Who, limit: Annotated[int, Query(ge=1, le=2000)] = 500) -> QueueView:
    """Who waits, in the order in which they would be served now, with the first thing that keeps each."""
    found = state.queue.get(state.context, caller.project)
    return found.model_copy(update={"items": found.items[:limit]})
