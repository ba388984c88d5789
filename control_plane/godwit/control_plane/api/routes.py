"""Routes for gateways: where requests go, and what came of them."""

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from godwit.control_plane import hints
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import routes
from godwit.domain.wire.routes import GatewaySignals, RouteTable

router = APIRouter(prefix="/v1")

LOOK_S = 5.0
"""A hint may be lost; the routes are read again this often."""


@router.get("/routes", response_model=RouteTable, responses={304: {"description": "`version` is the newest one"}})
async def get_routes(
    state: Godwit,
    _actor: Actor,
    version: Annotated[int | None, Query(ge=0, le=2**53, description="What the gateway serves by.")] = None,
    wait_s: Annotated[float, Query(ge=0, le=60)] = 0.0,
    gateway: Annotated[str | None, Query(min_length=1, max_length=64, description="Who asks, as its own name.")] = None,
) -> Response:
    """The newest routes, at once if they are not those of `version`, else once they change or after `wait_s`."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    while True:
        seen = state.context.hints.count(hints.ROUTES)
        table = await run_in_threadpool(routes.table, state.context, version, gateway)
        if table is not None:
            return Response(table.model_dump_json(), media_type="application/json")
        left_s = deadline - clock()
        if left_s <= 0:
            return Response(status_code=HTTPStatus.NOT_MODIFIED)
        await state.context.hints.wait_async(hints.ROUTES, seen, min(left_s, LOOK_S))


@router.post("/routes/signals", status_code=204, response_class=Response)
def post_signals(state: Godwit, _actor: Actor, signals: GatewaySignals) -> Response:
    """What a gateway measured: services scale, change and drain by it."""
    routes.told(state.context, signals)
    return Response(status_code=HTTPStatus.NO_CONTENT)
