"""Routes about receivers of notifications."""

from typing import Annotated

from fastapi import APIRouter, Path
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import notifications
from godwit.domain.wire.notifications import ResentView, TargetView, TrialView
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1")

TargetRef = Annotated[str, Path(max_length=64)]


@router.get("/notifications")
def list_notifications(state: Godwit, _actor: Actor) -> Page[TargetView]:
    """Who is told of what, and whether it arrives."""
    return Page(items=notifications.overview(state.context))


@router.post("/notifications/{target}/test")
def try_notification(state: Godwit, _actor: Actor, target: TargetRef) -> TrialView:
    """Send one message now, to see whether it arrives."""
    return notifications.try_one(state.context, state.send, target)


@router.post("/notifications/{target}/resend")
def resend_notifications(state: Godwit, _actor: Actor, target: TargetRef) -> ResentView:
    """Send again what a receiver did not take for a day."""
    return notifications.resend(state.context, target)
