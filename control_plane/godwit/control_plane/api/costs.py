"""Routes about money: what the fleet cost, and budgets."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from godwit.control_plane.api.access import Actor, Who
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.projects import ProjectRef
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import budgets, costs
from godwit.control_plane.services.costs import Window
from godwit.domain.wire.costs import BudgetIn, BudgetsView, BudgetView, By, CostsView
from pydantic import Field

router = APIRouter(prefix="/v1")

INSTANT_MAX = 1e11
"""The year 5138: seconds since the epoch, not milliseconds."""

Instant = Annotated[float, Field(ge=0, le=INSTANT_MAX, allow_inf_nan=False)]
Bucket = Annotated[float, Field(ge=1, le=366 * 86_400, allow_inf_nan=False)]
OfProject = Annotated[str | None, Query(max_length=64)]


def window(since: Instant | None = None, until: Instant | None = None, bucket: Bucket | None = None) -> Window:
    """What part of time is asked about, in seconds since the epoch, and how long the buckets of a series are."""
    return Window(since, until, bucket)


@router.get("/costs")
def get_costs(
    state: Godwit, caller: Who, asked: Annotated[Window, Depends(window)], by: By = By.PROJECT,
    project: OfProject = None, cursor: Cursor = None, limit: Limit = 100,
) -> CostsView:  # fmt: skip
    """Where the money went: of the last seven days unless said otherwise, dearest first; `bucket` in seconds."""
    return costs.show(state.context, by, asked, limit, cursor, caller.project or project)


@router.get("/budgets")
def list_budgets(state: Godwit, caller: Who, project: OfProject = None) -> BudgetsView:
    """Budgets of projects (this month's) and of jobs that have not ended, and what is spent of them."""
    return BudgetsView(budgets=budgets.listed(state.context, caller.project or project))


@router.put("/projects/{project}/budget")
def put_budget(state: Godwit, actor: Actor, project: ProjectRef, wanted: BudgetIn) -> BudgetView:
    """Set a project's budget for each calendar month (UTC)."""
    return budgets.put(state.context, project, wanted, actor)


@router.delete("/projects/{project}/budget", status_code=204, response_class=Response)
def remove_budget(state: Godwit, actor: Actor, project: ProjectRef) -> Response:
    """Take a project's budget away."""
    budgets.remove(state.context, project, actor)
    return Response(status_code=204)
