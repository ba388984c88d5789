"""What an action on nodes, jobs or incidents would do; nothing is written. The words are for whoever confirms it."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from godwit.control_plane.context import Context
from godwit.control_plane.services import migrations
from godwit.control_plane.store import arrays, entities, queries, tenancy
from godwit.control_plane.store import health as remembered
from godwit.domain import lifecycle, times
from godwit.domain.elasticity import Bends
from godwit.domain.errors import InvalidTransition
from godwit.domain.health import IncidentState
from godwit.domain.jobs import Attempt, Job, JobKind
from godwit.domain.nodes import Node, NodeState
from godwit.domain.wire.consequences import AffectedJob, ConsequencesView
from godwit.domain.wire.migrations import MigrationRequest
from sqlalchemy import Connection

LINES_MAX = 50
"""Jobs that are listed; `text` counts all."""

NodeVerb = Literal["cordon", "uncordon", "drain", "terminate"]

_TO = {
    "cordon": NodeState.CORDONED,
    "uncordon": NodeState.READY,
    "drain": NodeState.DRAINING,
    "terminate": NodeState.TERMINATING,
}
_BECOMES = {
    "drain": "is told, saves in its grace time, and goes on elsewhere",
    "terminate": "is interrupted, and goes on elsewhere from its last checkpoint",
}


def of_node(context: Context, node_id: str, verb: NodeVerb) -> ConsequencesView:
    """What cordoning, draining or terminating a node would do. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        node = queries.node(conn, node_id)
        why_not = _refused(node, _TO[verb], now)
        if why_not or verb in {"cordon", "uncordon"}:
            said = (
                "no new work starts there; what runs goes on" if verb == "cordon" else "new work may start there again"
            )
            return ConsequencesView(text=said, lines=[said], usd_per_hour=0.0, why_not=why_not)
        there = [
            a for a in queries.live_attempts(conn) if any(s.node_id == node_id and not s.released for s in a.slots)
        ]
        jobs = _affected(conn, there, _BECOMES[verb], now)
    gives = f"the machine is given back ({node.offer.provider}, ${node.offer.price_usd_per_hour:.2f}/h)"
    text = f"{stopped(jobs)}; {gives}"
    return ConsequencesView(
        text=text, lines=[_line(job) for job in jobs[:LINES_MAX]] + [gives], jobs=jobs[:LINES_MAX],
        usd_per_hour=-node.offer.price_usd_per_hour,
    )  # fmt: skip


def _refused(node: Node, to: NodeState, now: float) -> str:
    if node.state is to:
        return f"it is {to} already"
    try:
        lifecycle.advance(node, to, reason="asked", actor="nobody", now=now)
    except InvalidTransition as exc:
        return exc.message
    return ""


def of_cancel(context: Context, name_or_id: str) -> ConsequencesView:
    """What cancelling a job would do. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        return _cancelled(conn, [queries.job(conn, name_or_id)], now)


def of_cancel_array(context: Context, name_or_id: str) -> ConsequencesView:
    """What cancelling an array would do. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        array = arrays.get(conn, name_or_id)
        return _cancelled(conn, arrays.jobs(conn, array.id, arrays.LIVE_JOBS), now)


def _cancelled(conn: Connection, jobs: Sequence[Job], now: float) -> ConsequencesView:
    alive = [job for job in jobs if not lifecycle.is_final(job.state)]
    if not alive:
        return ConsequencesView(text="nothing is left to cancel", why_not="it has ended already", usd_per_hour=0.0)
    ids = {job.id for job in alive}
    running = [attempt for attempt in queries.live_attempts(conn) if attempt.job_id in ids]
    found = _affected(conn, running, "ends for good; its checkpoints stay", now)
    waiting = len(alive) - len(found)
    parts = ([stopped(found)] if found else []) + ([f"{waiting} that wait never start"] if waiting else [])
    gpus = sum(job.gpus for job in found)
    free = [f"{gpus} GPUs become free; the machines stay until they have idled for long enough"] if gpus else []
    lines = [_line(job) for job in found[:LINES_MAX]] + free
    return ConsequencesView(text="; ".join(parts) + ", for good", lines=lines, jobs=found[:LINES_MAX])


def of_migration(context: Context, name_or_id: str, wanted: MigrationRequest) -> ConsequencesView:
    """What moving a job would do. Raises as planning a migration does."""
    plan = migrations.preview(context, name_or_id, wanted)
    if plan.why_not:
        return ConsequencesView(text=f"{plan.job_name} would not move", why_not=plan.why_not)
    buys = [f"buys {count} x {offer}" for offer, count in plan.buys.items()]
    keeps = [f"takes {len(plan.keeps)} nodes that are there"] if plan.keeps else []
    rests = "it runs on until all is ready there, is told, saves, and goes on from its last checkpoint"
    change = None if plan.sum is None else plan.sum.to_usd_per_hour - plan.sum.from_usd_per_hour
    sums = [] if plan.sum is None else [plan.sum.text]
    return ConsequencesView(
        text=f"moves {plan.job_name} to {plan.to}; {rests}", lines=[*buys, *keeps, *sums], usd_per_hour=change
    )


def of_resize(context: Context, name_or_id: str, nodes: int | None) -> ConsequencesView:
    """What another number of nodes would do. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        job = queries.job(conn, name_or_id)
        running = [one for one in queries.live_attempts(conn) if one.job_id == job.id]
        rests = "goes on meanwhile" if job.spec.elastic is Bends.IN_PLACE else "starts again from its last checkpoint"
        found = _affected(conn, running, rests, now)
    asked, has = job.spec.resources, sum(len(one.staying) for one in running)
    why_not = ""
    if lifecycle.is_final(job.state):
        why_not = f"it is {job.state}"
    elif nodes is not None and not asked.nodes_min <= nodes <= asked.nodes_max:
        why_not = f"{nodes} is not within {entities.nodes_text(asked)}, its own bounds"
    elif nodes == job.nodes_wanted:
        why_not = "the planner chooses already" if nodes is None else f"{_nodes(nodes)} wanted already"
    return ConsequencesView(
        text=f"{_resized(has, nodes)}; it {rests}" if has else "it has so many nodes once it starts",
        lines=[_line(one) for one in found], jobs=found, why_not=why_not,
    )  # fmt: skip


def _resized(has: int, nodes: int | None) -> str:
    if nodes is None:
        return f"the planner chooses how many nodes it has; now it has {has}"
    if nodes > has:
        return f"from {has} to {_nodes(nodes)}; {nodes - has} more are taken where they are free, or bought"
    return f"from {has} to {_nodes(nodes)}; what it leaves is free for others, and given back once it has idled"


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"


def of_incident_close(context: Context, incident_id: str) -> ConsequencesView:
    """What closing an incident would do. Raises `NotFound`."""
    with context.db.read() as conn:
        incident = remembered.incident(conn, incident_id)
    count = len(incident.gpus)
    what = f"{count} GPU{'' if count == 1 else 's'}" if count else "the whole node"
    why_not = "it is closed already" if incident.state is IncidentState.CLOSED else ""
    counts = "count" if count > 1 else "counts"
    text = f"{what} of {incident.node_id} {counts} as healthy again, and new work may start there"
    return ConsequencesView(text=text, lines=[f"found was: {incident.reason}"], usd_per_hour=0.0, why_not=why_not)


def _affected(conn: Connection, attempts: Iterable[Attempt], becomes: str, now: float) -> list[AffectedJob]:
    saved = tenancy.saved_at(conn)
    found = []
    for attempt in attempts:
        job = queries.job(conn, attempt.job_id)
        at = saved.get(attempt.job_id) or max((row.at for row in queries.checkpoints(conn, job.id)), default=None)
        found.append(
            AffectedJob(
                id=job.id, name=job.spec.name, project=job.project, kind=job.spec.kind.value,
                gpus=sum(len(slot.gpus) for slot in attempt.slots if not slot.released),
                saved_s_ago=None if at is None else max(0.0, now - at), becomes=becomes,
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.gpus, one.id))


def stopped(jobs: Sequence[AffectedJob]) -> str:
    """Who is stopped, in one sentence: "stops 3 jobs, 2 have a checkpoint younger than 4m, 1 has none". Pure."""
    if not jobs:
        return "stops no job"
    ages = [job.saved_s_ago for job in jobs if job.saved_s_ago is not None]
    # What serves or is worked in makes no checkpoints: it is started again elsewhere as it was.
    bare = [job for job in jobs if job.saved_s_ago is None and job.kind == JobKind.TRAIN]
    said = [f"stops {len(jobs)} job{'' if len(jobs) == 1 else 's'}"]
    if ages:
        said.append(f"{len(ages)} {_has(len(ages))} a checkpoint younger than {_rounded(max(ages))}")
    if bare:
        said.append(
            f"{len(bare)} {_has(len(bare))} none" if ages else f"{len(bare)} {_has(len(bare))} no checkpoint yet"
        )
    return ", ".join(said)


def _has(count: int) -> str:
    return "has" if count == 1 else "have"


def _rounded(age_s: float) -> str:
    """The next larger whole number of a unit that people think in."""
    unit_s = 60 if age_s < 3_600 else 3_600 if age_s < 86_400 else 86_400
    return times.duration_text((math.floor(age_s / unit_s) + 1) * unit_s)


def _line(job: AffectedJob) -> str:
    saved = "no checkpoint" if job.saved_s_ago is None else f"last saved {times.duration_text(job.saved_s_ago)} ago"
    return f"{job.name} ({job.gpus} GPUs, project {job.project}): {saved}; it {job.becomes}"
