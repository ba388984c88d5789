"""Routes about people whom an identity provider vouches for."""

from typing import Annotated

from fastapi import APIRouter, Path
from godwit.control_plane.api.access import Who
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import users
from godwit.domain.wire.login import UserView
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1")

UserRef = Annotated[str, Path(max_length=64)]


@router.get("/users")
def list_users(state: Godwit, _caller: Who, cursor: Cursor = None, limit: Limit = 100) -> Page[UserView]:
    """People who logged in with the identity provider, the oldest first, with those who are disabled."""
    found = users.listed(state.context, limit, cursor)
    return Page(items=found, next_cursor=found[-1].id if len(found) == limit else None)


@router.post("/users/{user}/disable")
def disable_user(state: Godwit, caller: Who, user: UserRef) -> UserView:
    """Keep a person out; their sessions and tokens end at once."""
    return users.disable(state.context, user, caller)


@router.post("/users/{user}/enable")
def enable_user(state: Godwit, _caller: Who, user: UserRef) -> UserView:
    """Let a person log in again; what ended stays ended."""
    return users.enable(state.context, user)
