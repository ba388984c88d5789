"""Routes about jobs."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import PlainTextResponse, Response
from godwit.control_plane.api.access import Actor, OwnSpec, Who
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import jobs, ledger, logs, sizes, views
from godwit.control_plane.store import arrays, dependencies, job_lists, queries, sums
from godwit.domain.jobs import JobState
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.pages import Page
from godwit.domain.wire.sizes import SizeWanted
from godwit.domain.wire.views import ExplainView, JobDetail, JobView, LedgerView, PlanView
from pydantic_core import to_json

router = APIRouter(prefix="/v1")

JobRef = Annotated[str, Path(max_length=64, description="A job's id, or a name: then the newest job of that name.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]

MAX_LOG_BYTES = 16 * 1024 * 1024
"""What the plain log route returns at most; the stream has no bound."""


@router.post("/plans")
def preview(state: Godwit, spec: OwnSpec) -> PlanView:
    """What submitting this would do now. Nothing is written."""
    return jobs.preview(state.context, state.shelf, spec)


@router.post("/jobs", status_code=202)
def submit(
    state: Godwit,
    actor: Actor,
    spec: OwnSpec,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=128)] = None,
    strict: Annotated[bool, Query(description="Refuse a job that cannot keep to its deadline or its budget.")] = False,
) -> JobView | ArrayView:
    """Submit a job, or an array, and answer it: `kind` is "array" then. The same Idempotency-Key answers the same."""
    return jobs.submit(state.context, state.shelf, spec, idempotency_key, actor, is_strict=strict)


@dataclass(frozen=True)
class Wanted:
    """Which jobs are listed."""

    state: Annotated[list[JobState] | None, Query(max_length=16)] = None
    name: Annotated[str | None, Query(max_length=64)] = None
    project: Annotated[str | None, Query(max_length=64)] = None
    array: Annotated[str | None, Query(max_length=64, description="Only of this array: its id, or a name.")] = None
    single: Annotated[bool, Query(description="Only jobs that are of no array.")] = False


@router.get("/jobs", response_model=Page[JobView])
def list_jobs(
    state: Godwit, caller: Who, wanted: Annotated[Wanted, Depends()], cursor: Cursor = None, limit: Limit = 100
) -> Response:
    """Jobs, newest first. Who is bound to a project sees nothing of another one."""
    of = wanted.project or caller.project
    with state.context.db.read() as conn:
        array_id = None if wanted.array is None else arrays.get(conn, wanted.array, caller.project).id
        rows = job_lists.page(
            conn, limit, cursor, wanted.state or [], wanted.name, array_id, is_single=wanted.single, project=of
        )
    if of != (caller.project or of):
        rows = []
    page = {
        "items": [views.job_summary(row) for row in rows],
        "next_cursor": rows[-1].id if len(rows) == limit else None,
    }
    return Response(to_json(page), media_type="application/json")


@router.get("/jobs/{job}")
def get_job(state: Godwit, _actor: Actor, job: JobRef) -> JobDetail:
    """A job with its specification, attempts and checkpoints."""
    with state.context.db.read() as conn:
        found = queries.job(conn, job)
        after_id = found.after_id
        after = () if after_id is None else dependencies.standings(conn, [after_id])[after_id]
        attempts, checkpoints = queries.attempts_of(conn, found.id), queries.checkpoints(conn, found.id)
        began = sums.attempts_began(conn, found.id)
        return views.job_detail(found, attempts, checkpoints, after, began)


@router.post("/jobs/{job}/cancel", status_code=202)
def cancel(state: Godwit, actor: Actor, job: JobRef) -> JobView:
    """Ask for a job's end; a final job is left as it is."""
    return jobs.cancel(state.context, job, actor)


@router.put("/jobs/{job}/size")
def resize(state: Godwit, actor: Actor, job: JobRef, size: SizeWanted) -> JobView:
    """Say how many nodes a job should have; the planner follows. The same again changes nothing."""
    return sizes.want(state.context, job, size.nodes, actor)


@router.get("/jobs/{job}/explain")
def explain(state: Godwit, _actor: Actor, job: JobRef) -> ExplainView:
    """Why a job is where it is."""
    return jobs.explain(state.context, job)


@router.get("/jobs/{job}/ledger")
def get_ledger(state: Godwit, _actor: Actor, job: JobRef) -> LedgerView:
    """Where the GPU-seconds and the dollars of a job's nodes went."""
    return ledger.of_job(state.context, job)


@router.get("/jobs/{job}/logs", response_class=PlainTextResponse)
def get_logs(
    state: Godwit, _actor: Actor, job: JobRef, tail: Annotated[int | None, Query(ge=0, le=100_000)] = None
) -> PlainTextResponse:
    """A job's output so far, over all its attempts; the last `tail` lines of it."""
    with state.context.db.read() as conn:
        job_id = queries.job(conn, job).id
    if tail is not None:
        return PlainTextResponse(state.logs.tail(job_id, tail, MAX_LOG_BYTES))
    cursor, pieces, size = logs.Cursor(), [], 0
    while size < MAX_LOG_BYTES:
        cursor, text = state.logs.read(job_id, cursor, 1024 * 1024)
        if not text:
            break
        pieces.append(text)
        size += len(text)
    return PlainTextResponse("".join(pieces))
