"""What people do with projects: set a quota, see what is used of it, remove one."""

from dataclasses import asdict, replace

from godwit.control_plane.context import Context
from godwit.control_plane.services import project_secrets
from godwit.control_plane.store import entities, queries, tenancy
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Conflict
from godwit.domain.events import Event
from godwit.domain.ids import ProjectId
from godwit.domain.jobs import JobState
from godwit.domain.projects import DEFAULT, Project
from godwit.domain.wire.projects import ProjectIn, ProjectView, UsageView
from godwit.scheduler import fleet, repair
from godwit.scheduler import projects as holdings
from godwit.scheduler.projects import Held
from sqlalchemy import Connection

MAX_PROJECTS = 1_000
"""Projects of one control plane: each plan reads them all."""

RUNNING = (JobState.STARTING, JobState.RUNNING, JobState.MIGRATING, JobState.RESIZING, JobState.STOPPING)
WAITING = (JobState.QUEUED, JobState.RECOVERING)


def overview(context: Context, limit: int, after: str | None) -> list[ProjectView]:
    """A page of projects by name, with what they use now."""
    with context.db.read() as conn:
        return _views(context, conn, tenancy.projects_page(conn, limit, after))


def show(context: Context, name: str) -> ProjectView:
    """One project. Raises `NotFound`."""
    with context.db.read() as conn:
        return _views(context, conn, [tenancy.project(conn, name)])[0]


def put(context: Context, name: str, wanted: ProjectIn, actor: str) -> ProjectView:
    """Make a project what it should be, whether or not it exists; the same again changes nothing.

    Raises `InvalidRequest`, `Conflict` when it is not of the wanted version, or when there are too many.
    """
    now = context.now()
    limits = wanted.to_limits()
    with context.db.write() as tx:
        known = tenancy.find(tx.conn, name)
        if wanted.version is not None and (known is None or known.version != wanted.version):
            there = "does not exist" if known is None else f"is of version {known.version}"
            raise Conflict(f"project {name} {there}, not of version {wanted.version}; read it again and repeat")
        born = Project(ProjectId(name), created_at=now) if known is None else known
        project = replace(born, limits=limits, cohort=wanted.cohort or "", weight=wanted.weight)
        if wanted.shares_nodes is not None:
            project = replace(project, shares_nodes=wanted.shares_nodes)
        if known is None:
            _refuse_too_many(tx.conn)
            tenancy.add(tx, project)
        elif project != known:
            project = tenancy.save(tx, project)
        if project != known:
            _tell(tx, project, known, actor, now)
        return _views(context, tx.conn, [project])[0]


def remove(context: Context, name: str, actor: str) -> None:
    """Forget a project. Raises `NotFound`, or `Conflict` while jobs of it are not over, and for the default one."""
    with context.db.write() as tx:
        project = tenancy.project(tx.conn, name)
        if project.name == DEFAULT:
            raise Conflict(f"project {DEFAULT} stays: it owns the jobs that name no project")
        alive = sum(tenancy.jobs_by_state(tx.conn, (*RUNNING, *WAITING)).get(name, {}).values())
        if alive:
            raise Conflict(f"project {name} has {alive} jobs that are not over; cancel them or let them end first")
        project_secrets.remove_all(tx, name, context.now())
        tenancy.remove(tx, name)
        reason = f"removed by {actor}"
        entities.append(tx, Event(context.now(), "project.removed", "project", name, reason, actor))


def _refuse_too_many(conn: Connection) -> None:
    if tenancy.count(conn) >= MAX_PROJECTS:
        raise Conflict(f"there are {MAX_PROJECTS} projects already, the most that there can be; remove one first")


def _tell(tx: Transaction, project: Project, before: Project | None, actor: str, now: float) -> None:
    kind = "project.added" if before is None else "project.changed"
    reason = f"{'made' if before is None else 'changed'} by {actor}: {_in_words(project)}"
    data = {"now": _facts(project), "before": None if before is None else _facts(before)}
    entities.append(tx, Event(now, kind, "project", project.name, reason, actor, data=data))


def _facts(of: Project) -> dict[str, object]:
    limits = {name: asdict(limit) for name, limit in of.limits.items()}
    return {
        "limits": limits,
        "cohort": of.cohort,
        "weight": of.weight,
        "shares_nodes": of.shares_nodes,
        "version": of.version,
    }


def _in_words(of: Project) -> str:
    quota = ", ".join(f"{name}={limit.nominal}" for name, limit in sorted(of.limits.items())) or "no quota"
    cohort, shares = f", cohort {of.cohort}" if of.cohort else "", ", shares nodes" if of.shares_nodes else ""
    return quota + cohort + (f", weight {of.weight:g}" if of.weight != 1 else "") + shares


def _views(context: Context, conn: Connection, wanted: list[Project]) -> list[ProjectView]:
    now = context.now()
    snapshot = queries.snapshot(conn, now, context.hearing_since, context.policy)
    gate = holdings.gate_of(snapshot.projects)
    waiting = [job for job in snapshot.jobs if repair.waits(job) and job.id not in snapshot.attempt_by_job]
    order, usage = holdings.order_of(snapshot, gate, now)
    fleet.engine_of(snapshot, waiting, now, gate=usage)  # which tells the gate of all that is held
    held = holdings.held(snapshot.projects, gate)
    counts = tenancy.jobs_by_state(conn, (*RUNNING, *WAITING))
    return [
        _view(project, held.get(project.name, {}), counts.get(project.name, {})).model_copy(
            update={
                "lately": {name: round(n, 3) for name, n in holdings.by_name(usage.averages(project.name)).items()},
                "share": round(order.standing(project.name, now), 6),
            }
        )
        for project in wanted
    ]


def _view(of: Project, held: dict[str, Held], counts: dict[str, int]) -> ProjectView:
    return ProjectView(
        name=of.name,
        cohort=of.cohort or None,
        weight=of.weight,
        shares_nodes=of.shares_nodes,
        limits={name: _usage(held[name]) for name in sorted(of.limits)},
        running=sum(counts.get(state, 0) for state in RUNNING),
        waiting=sum(counts.get(state, 0) for state in WAITING),
        version=of.version,
    )


def _usage(of: Held) -> UsageView:
    return UsageView(**asdict(of.limit), used=of.used, borrowed=of.borrowed, lent=round(of.lent, 3))
