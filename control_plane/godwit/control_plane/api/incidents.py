"""Routes about incidents and the breaker."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import Limit
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import breaker, incidents
from godwit.domain.health import IncidentState
from godwit.domain.wire.incidents import BreakerView, EvidenceView, IncidentDetail, IncidentView
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1")

IncidentRef = Annotated[str, Path(max_length=128)]
_OPEN = [state for state in IncidentState if state is not IncidentState.CLOSED]


@router.get("/incidents")
def list_incidents(
    state: Godwit,
    _actor: Actor,
    include_closed: Annotated[bool, Query(alias="all")] = False,
    only: Annotated[list[IncidentState] | None, Query(alias="state", max_length=8)] = None,
    node: Annotated[str | None, Query(max_length=64)] = None,
    provider: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=128, description="`next_cursor` of the page before.")] = None,
    limit: Limit = 100,
) -> Page[IncidentView]:
    """Incidents, the newest first: those that are not closed, or those in one of `state`, or `all`."""
    states = only or ([] if include_closed else _OPEN)
    found = incidents.page(state.context, limit, cursor, states, node, provider)
    return Page(items=found, next_cursor=found[-1].id if len(found) == limit else None)


@router.get("/incidents/{incident}")
def get_incident(state: Godwit, _actor: Actor, incident: IncidentRef) -> IncidentDetail:
    """One incident: what was found, what was decided and done, who had to leave, and its timeline."""
    return incidents.show(state.context, incident)


@router.get("/incidents/{incident}/evidence")
def get_evidence(state: Godwit, _actor: Actor, incident: IncidentRef) -> EvidenceView:
    """What to send to the provider or vendor: machine, devices, findings with their lines and counters, timeline."""
    return incidents.evidence(state.context, incident)


@router.post("/incidents/{incident}/close", status_code=202)
def close_incident(state: Godwit, actor: Actor, incident: IncidentRef) -> IncidentView:
    """Say that nothing is wrong any more: its devices are healthy, and its node takes work again."""
    return incidents.close(state.context, incident, actor)


@router.post("/incidents/{incident}/retest", status_code=202)
def retest_incident(state: Godwit, actor: Actor, incident: IncidentRef) -> IncidentView:
    """Say that it was repaired: it is tested, and returns if it passes. Only where automation is at its end."""
    return incidents.retest(state.context, incident, actor)


@router.get("/breaker")
def get_breaker(state: Godwit, _actor: Actor) -> BreakerView:
    """Whether automation may take nodes out of the fleet, and what it took within the last hour."""
    return breaker.show(state.context)


@router.post("/breaker/reset", status_code=202)
def reset_breaker(state: Godwit, actor: Actor) -> BreakerView:
    """Let automation act again after the breaker tripped."""
    return breaker.reset(state.context, actor)
