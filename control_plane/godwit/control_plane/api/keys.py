"""Routes about API keys, with which people come to services."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import keys
from godwit.domain.wire.keys import KeyIn, KeyMade, KeyView
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1")


@router.get("/keys")
def list_keys(state: Godwit, _actor: Actor, cursor: Cursor = None, limit: Limit = 100) -> Page[KeyView]:
    """API keys, the oldest first; their texts are known to their owners alone."""
    found = keys.listed(state.context, limit, cursor)
    return Page(items=found, next_cursor=found[-1].id if len(found) == limit else None)


@router.post("/keys", status_code=201)
def make_key(state: Godwit, actor: Actor, wanted: KeyIn) -> KeyMade:
    """Make an API key. Its text is in this answer and nowhere else."""
    return keys.make(state.context, wanted, actor)


@router.delete("/keys/{key}", status_code=204, response_class=Response)
def remove_key(state: Godwit, actor: Actor, key: Annotated[str, Path(max_length=64)]) -> Response:
    """Remove an API key; gateways refuse it once they have the next routes."""
    keys.remove(state.context, key, actor)
    return Response(status_code=204)
