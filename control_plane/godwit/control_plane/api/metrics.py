"""The route that Prometheus reads. It wants a token like every other, unless config.yaml opens it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from godwit.control_plane.api import access
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.metrics.reading import CONTENT_TYPE

router = APIRouter()

_bearer = HTTPBearer(auto_error=False, description="The token that `godwit up` wrote, or one made later.")
_TEXT = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}}


async def _reader(
    request: Request,
    state: Godwit,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    if not state.open_metrics:
        await access.person(request, credentials)


@router.get("/metrics", responses=_TEXT, response_class=Response, dependencies=[Depends(_reader)])  # type: ignore[arg-type]
def get_metrics(state: Godwit) -> Response:
    """What this control plane and its fleet are doing, in numbers; `docs/metrics.md` lists them."""
    return Response(state.exposition.text(), headers={"Content-Type": CONTENT_TYPE})
