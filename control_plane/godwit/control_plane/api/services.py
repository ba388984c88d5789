"""Routes about services: jobs that do not end, with replicas behind one name."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from godwit.control_plane.api.access import Actor, OwnSpec, Who
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import rollouts, serving
from godwit.domain.wire.pages import Page
from godwit.domain.wire.services import MoveWanted, RolloutWanted, ScaleWanted, ServiceDetail, ServiceView

router = APIRouter(prefix="/v1")

ServiceRef = Annotated[str, Path(max_length=64, description="A service's id, or a name: then the newest of that name.")]


@router.get("/services")
def list_services(
    state: Godwit,
    caller: Who,
    project: Annotated[str | None, Query(max_length=64)] = None,
    deleted: Annotated[bool, Query(description="Also those that were deleted.")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[ServiceView]:
    """Services, the oldest first: how many replicas are wanted, and how many take requests."""
    found = list(serving.overview(state.context, limit, cursor, caller.project or project, final=deleted))
    return Page(items=found, next_cursor=found[-1].id if len(found) == limit else None)


@router.post("/services", status_code=202)
def put_service(state: Godwit, actor: Actor, spec: OwnSpec) -> ServiceView:
    """Make a service of `kind: service`, or take the one of its name to a new version. The same again is the same."""
    return serving.put(state.context, state.shelf, spec, actor)


@router.get("/services/{service}")
def get_service(state: Godwit, _actor: Actor, service: ServiceRef) -> ServiceDetail:
    """A service with its replicas, versions and traffic."""
    return serving.show(state.context, service)


@router.put("/services/{service}/scale")
def scale_service(state: Godwit, actor: Actor, service: ServiceRef, wanted: ScaleWanted) -> ServiceView:
    """Say how many replicas it should have; what goes drains first."""
    return serving.scale(state.context, service, wanted.replicas, actor)


@router.post("/services/{service}/rollback", status_code=202)
def roll_back_service(state: Godwit, actor: Actor, service: ServiceRef) -> ServiceView:
    """Take back a change of versions that is under way."""
    return serving.roll_back(state.context, service, actor)


@router.post("/services/{service}/rollout", status_code=202)
def change_rollout(state: Godwit, actor: Actor, service: ServiceRef, wanted: RolloutWanted) -> ServiceView:
    """Hold a change of versions, let it go on, end it at once, or go back."""
    return rollouts.change(state.context, service, wanted, actor)


@router.post("/services/{service}/move", status_code=202)
def move_service(state: Godwit, actor: Actor, service: ServiceRef, wanted: MoveWanted) -> ServiceView:
    """Move a service or one of its replicas: others start there first, and these drain once those take requests."""
    return serving.move(state.context, service, wanted.to, actor)


@router.delete("/services/{service}", status_code=202)
def remove_service(state: Godwit, actor: Actor, service: ServiceRef) -> ServiceView:
    """Remove a service: its replicas drain and stop."""
    return serving.remove(state.context, service, actor)
