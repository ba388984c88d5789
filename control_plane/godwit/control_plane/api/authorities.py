"""Routes about the authorities that sign certificates of agents: who they are, and the next one."""

from fastapi import APIRouter
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import authorities
from godwit.domain.wire.certificates import AuthorityView
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1/authorities")


@router.get("")
def list_authorities(state: Godwit, _actor: Actor) -> Page[AuthorityView]:
    """Who signs certificates of agents, who will, and whose are believed still; none without `agents_tls`."""
    return Page(items=authorities.views(state.context))


@router.post("", status_code=201)
def rotate(state: Godwit, _actor: Actor) -> AuthorityView:
    """A new authority: believed at once, it signs once agents know it, and then stands alone. Nothing stops for it."""
    return authorities.begin(state.context)
