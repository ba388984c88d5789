"""Routes for workdirs."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.state import Godwit
from godwit.domain.wire.specs import Digest
from godwit.domain.wire.views import ArchiveView

router = APIRouter(prefix="/v1/archives")

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.head("/{digest}", response_class=Response)
def has_archive(state: Godwit, _actor: Actor, digest: Annotated[Digest, Path()]) -> Response:
    """Whether this archive was uploaded: 200 or 404."""
    state.shelf.path(digest)
    return Response()


@router.put("/{digest}", openapi_extra=_BODY)
async def put_archive(state: Godwit, _actor: Actor, digest: Annotated[Digest, Path()], request: Request) -> ArchiveView:
    """Upload a workdir as .tar.gz, named by its SHA-256; the same twice is one."""
    size = await state.shelf.put(digest, request.stream())
    return ArchiveView(digest=digest, size_bytes=size)
