"""Routes about projects and their quotas."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import projects
from godwit.domain.wire.pages import Page
from godwit.domain.wire.projects import ProjectIn, ProjectView
from godwit.domain.wire.specs import NAME_PATTERN

router = APIRouter(prefix="/v1")

ProjectRef = Annotated[str, Path(max_length=64)]
NewProjectRef = Annotated[str, Path(pattern=NAME_PATTERN, max_length=63)]


@router.get("/projects")
def list_projects(state: Godwit, _actor: Actor, cursor: Cursor = None, limit: Limit = 100) -> Page[ProjectView]:
    """Projects by name: their quotas, what they use of them, what they borrow and lend."""
    found = projects.overview(state.context, limit, cursor)
    return Page(items=found, next_cursor=found[-1].name if len(found) == limit else None)


@router.get("/projects/{project}")
def get_project(state: Godwit, _actor: Actor, project: ProjectRef) -> ProjectView:
    """One project."""
    return projects.show(state.context, project)


@router.put("/projects/{project}")
def put_project(state: Godwit, actor: Actor, project: NewProjectRef, wanted: ProjectIn) -> ProjectView:
    """Make a project what it should be, whether or not it exists. What runs above a smaller quota runs on."""
    return projects.put(state.context, project, wanted, actor)


@router.delete("/projects/{project}", status_code=204, response_class=Response)
def remove_project(state: Godwit, actor: Actor, project: ProjectRef) -> Response:
    """Forget a project of which no job is left."""
    projects.remove(state.context, project, actor)
    return Response(status_code=204)
