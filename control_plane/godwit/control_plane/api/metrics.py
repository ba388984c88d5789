"""The route that Prometheus reads. The application asks for a token first, unless config.yaml opens it."""

from fastapi import APIRouter
from fastapi.responses import Response
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.metrics.reading import CONTENT_TYPE

router = APIRouter()

_TEXT = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}}


@router.get("/metrics", responses=_TEXT, response_class=Response)  # type: ignore[arg-type]
def get_metrics(state: Godwit) -> Response:
    """What this control plane and its fleet are doing, in numbers; `docs/metrics.md` lists them."""
    return Response(state.exposition.text(), headers={"Content-Type": CONTENT_TYPE})
