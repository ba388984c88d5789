"""Routes about arrays: jobs that were submitted as one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from godwit.control_plane.api.access import Actor, Who
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import arrays as shown
from godwit.control_plane.services import jobs
from godwit.control_plane.store import arrays
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.pages import Page
from godwit.domain.wire.views import ExplainView

router = APIRouter(prefix="/v1")

ArrayRef = Annotated[str, Path(max_length=64, description="An array's id, or a name: then the newest of that name.")]


@router.get("/arrays")
def list_arrays(
    state: Godwit,
    caller: Who,
    alive: Annotated[bool | None, Query(description="Only those with a job that has not ended, or without.")] = None,
    name: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[ArrayView]:
    """Arrays, newest first, with how many of their jobs are in each state."""
    with state.context.db.read() as conn:
        found = arrays.page(conn, limit, cursor, is_alive=alive, name=name, project=caller.project)
        items = shown.views(conn, found)
    return Page(items=items, next_cursor=found[-1].id if len(found) == limit else None)


@router.get("/arrays/{array}")
def get_array(state: Godwit, _actor: Actor, array: ArrayRef) -> ArrayView:
    """An array, with how many of its jobs are in each state."""
    with state.context.db.read() as conn:
        return shown.view(conn, arrays.get(conn, array))


@router.post("/arrays/{array}/cancel", status_code=202)
def cancel_array(state: Godwit, actor: Actor, array: ArrayRef) -> ArrayView:
    """Ask for the end of all its jobs; those that have ended are left as they are."""
    return jobs.cancel_array(state.context, array, actor)


@router.get("/arrays/{array}/explain")
def explain_array(state: Godwit, _actor: Actor, array: ArrayRef) -> ExplainView:
    """Why an array is where it is, by one of its jobs that stands for others."""
    return jobs.explain_array(state.context, array)
