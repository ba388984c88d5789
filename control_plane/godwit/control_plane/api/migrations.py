"""Routes about migrations of jobs."""

from typing import Annotated

from fastapi import APIRouter, Query
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import JobRef
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import migrations
from godwit.domain.wire.migrations import MigrationPlan, MigrationRequest, MigrationView
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1")


@router.post("/jobs/{job}/migrations/plan")
def plan_migration(state: Godwit, _actor: Actor, job: JobRef, request: MigrationRequest) -> MigrationPlan:
    """Where a running job would go now, what that saves and costs. Nothing is written."""
    return migrations.preview(state.context, job, request)


@router.post("/jobs/{job}/migrations", status_code=202)
def begin_migration(state: Godwit, actor: Actor, job: JobRef, request: MigrationRequest) -> MigrationView:
    """Move a running job. Asked again with the same wish while it is moved, the same migration is answered."""
    return migrations.wish(state.context, job, request, actor)


@router.post("/jobs/{job}/migrations/cancel", status_code=202)
def cancel_migration(state: Godwit, actor: Actor, job: JobRef) -> MigrationView:
    """Let a job stay where it is, unless it was told to stop already."""
    return migrations.cancel(state.context, job, actor)


@router.get("/jobs/{job}/migrations")
def list_migrations(
    state: Godwit, _actor: Actor, job: JobRef, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> Page[MigrationView]:
    """A job's migrations, the newest first: what was predicted, and what was measured."""
    return Page(items=migrations.listed(state.context, job)[:limit])
