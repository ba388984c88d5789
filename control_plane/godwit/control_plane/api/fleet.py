"""Routes about what the fleet is and what the market sells."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.context import Context
from godwit.control_plane.services import drills, nodes, views
from godwit.control_plane.store import arrays, market, queries
from godwit.domain import resources
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.pages import Page
from godwit.domain.wire.views import DrillRequest, DrillView, EventView, NodeView, OfferView
from godwit.scheduler.trust import UNKNOWN

router = APIRouter(prefix="/v1")

NodeRef = Annotated[str, Path(max_length=64)]
NodeVerb = Literal["cordon", "uncordon", "drain", "terminate"]
_VERBS: Mapping[NodeVerb, Callable[[Context, str, str], NodeView]] = {
    "cordon": nodes.cordon,
    "uncordon": nodes.uncordon,
    "drain": nodes.drain,
    "terminate": nodes.terminate,
}


@router.get("/nodes")
def list_nodes(
    state: Godwit,
    _actor: Actor,
    include_final: Annotated[bool, Query(alias="all")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[NodeView]:
    """Nodes, oldest first; with `all` also those that have ended."""
    with state.context.db.read() as conn:
        found = queries.nodes_page(conn, limit, cursor, final=include_final)
        holders = views.holders(queries.live_attempts(conn))
    loads = state.context.loads.newest(state.context.now())
    items = [views.node(node, holders, loads) for node in found]
    return Page(items=items, next_cursor=found[-1].id if len(found) == limit else None)


@router.get("/nodes/{node}")
def get_node(state: Godwit, _actor: Actor, node: NodeRef) -> NodeView:
    """One node."""
    loads = state.context.loads.newest(state.context.now())
    with state.context.db.read() as conn:
        return views.node(queries.node(conn, node), views.holders(queries.live_attempts(conn)), loads)


@router.post("/nodes/{node}/{verb}", status_code=202)
def change_node(state: Godwit, actor: Actor, node: NodeRef, verb: NodeVerb) -> NodeView:
    """Keep new work off a node (`cordon`, `uncordon`), empty it and give it back (`drain`), or now (`terminate`)."""
    return _VERBS[verb](state.context, node, actor)


@router.get("/offers")
def list_offers(
    state: Godwit,
    _actor: Actor,
    gpus: Annotated[str | None, Query(max_length=64)] = None,
    infra: Annotated[str | None, Query(max_length=128)] = None,
    spot: bool | None = None,
    max_price: Annotated[float | None, Query(ge=0, le=1e9, description="USD per GPU and hour.")] = None,
    cursor: Annotated[str | None, Query(max_length=9, pattern=r"^\d+$")] = None,
    limit: Limit = 100,
) -> Page[OfferView]:
    """What can be bought now, cheapest per GPU first; for a machine without GPUs the price is the machine's."""
    search = market.OfferSearch(
        gpus=None if gpus is None else resources.parse_gpus(gpus),
        infra=None if infra is None else resources.parse_infra(infra),
        spot=spot,
        price_max_usd_per_gpu_hour=max_price,
    )
    offset = int(cursor or 0)
    with state.context.db.read() as conn:
        found = market.offers_page(conn, search, limit, offset)
        holds = {hold.offer_key: hold for hold in queries.holds(conn, state.context.now())}
        records = queries.records(conn)
    items = [views.offer(offer, holds.get(offer.key), records.get(offer.key, UNKNOWN).score) for offer in found]
    return Page(items=items, next_cursor=str(offset + limit) if len(found) == limit else None)


@router.get("/events")
def list_events(
    state: Godwit,
    _actor: Actor,
    job: Annotated[
        str | None, Query(max_length=64, description="Only of this job, or of the jobs of this array.")
    ] = None,
    node: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    cursor: Annotated[str | None, Query(max_length=20, pattern=r"^\d+$")] = None,
    limit: Limit = 100,
) -> Page[EventView]:
    """What happened, oldest first, from number `after` on."""
    with state.context.db.read() as conn:
        about = {} if job is None else arrays.subject(conn, job)
        start = max(after, int(cursor or 0))
        if start > 2**53:
            raise InvalidRequest("there is no such event number")
        events = queries.events(conn, start, limit, node_id=node, **about)
    next_cursor = str(events[-1].seq) if len(events) == limit else None
    return Page(items=[views.event(event) for event in events], next_cursor=next_cursor)


@router.post("/drills", status_code=202)
def drill(state: Godwit, actor: Actor, request: DrillRequest) -> DrillView:
    """Inject a fault on purpose, where the provider allows it."""
    return drills.order(state.context, request, actor)
