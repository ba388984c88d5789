"""Every reading of the tables. Each function takes a connection, and the transaction is the caller's."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from godwit.control_plane.store import (
    abilities,
    arrays,
    budgets,
    dependencies,
    entities,
    health,
    moves,
    run_times,
    schema,
    sealed,
    statements,
    tenancy,
    usage,
)
from godwit.domain import lifecycle
from godwit.domain.errors import NotFound
from godwit.domain.events import Event
from godwit.domain.ids import JobId, OfferKey
from godwit.domain.intents import Intent, IntentKind
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.scheduler.snapshot import Hold, Policy, Snapshot
from godwit.scheduler.trust import UNKNOWN, Record
from sqlalchemy import Connection, Row, Select, Table, func, select

FINAL_JOBS = tuple(state for state in JobState if lifecycle.is_final(state))
WAITING_JOBS = (JobState.QUEUED,)
ACTIVE_JOBS = tuple(state for state in JobState if state not in (*FINAL_JOBS, *WAITING_JOBS))


def meta(conn: Connection, key: str) -> str | None:
    """A setting of this database, such as the control plane's identity."""
    return conn.execute(select(schema.meta.c.value).where(schema.meta.c.key == key)).scalar()


def job(conn: Connection, name_or_id: str) -> Job:
    """A job by id, or the newest job of that name. Raises `NotFound`."""
    table = schema.jobs
    row = conn.execute(statements.row_of(table.c.id), {"wanted": name_or_id}).first()
    if row is None:
        row = conn.execute(statements.newest_job_named(), {"wanted": name_or_id}).first()
    if row is None:
        array = arrays.find(conn, name_or_id)
        if array is not None:
            last = f"{array.name}-{array.size - 1}"
            raise NotFound(f"{name_or_id} is an array; name one of its jobs, {array.name}-0 to {last}")
        raise NotFound(f"there is no job {name_or_id!r}; `godwit ps -a` lists them all")
    return entities.job_from(row)


def attempt(conn: Connection, attempt_id: str) -> Attempt:
    """An attempt by id. Raises `NotFound`."""
    return entities.attempt_from(_one(conn, schema.attempts, attempt_id, "attempt"))


def attempts_of(conn: Connection, job_id: str) -> list[Attempt]:
    """All attempts of a job, oldest first."""
    table = schema.attempts
    rows = conn.execute(select(table).where(table.c.job_id == job_id).order_by(table.c.epoch))
    return [entities.attempt_from(row) for row in rows]


def live_attempts(conn: Connection) -> list[Attempt]:
    """Every attempt that has not ended."""
    return [entities.attempt_from(row) for row in conn.execute(statements.LIVE_ATTEMPTS).all()]


def live_attempts_on(conn: Connection, node_id: str) -> list[Attempt]:
    """Those of them that have, or had, a place on a node; agents ask each time that they have something to say."""
    named = statements.LIVE_ATTEMPTS.where(schema.attempts.c.slots.contains(node_id, autoescape=True))
    found = [entities.attempt_from(row) for row in conn.execute(named).all()]
    return [one for one in found if any(slot.node_id == node_id for slot in one.slots)]


def last_lines(conn: Connection, job_id: str) -> list[str]:
    """The last lines of output of the job's newest attempt, as reported when it stopped."""
    table = schema.attempts
    query = select(table.c.last_lines).where(table.c.job_id == job_id).order_by(table.c.epoch.desc()).limit(1)
    return list(json.loads(conn.execute(query).scalar() or "[]"))


def node(conn: Connection, node_id: str) -> Node:
    """A node by id. Raises `NotFound`."""
    return entities.node_from(_one(conn, schema.nodes, node_id, "node", "; `godwit nodes` lists them"))


def nodes(conn: Connection, *, provider: str | None = None, final: bool = False) -> list[Node]:
    """Nodes, oldest first; without the final ones unless `final`."""
    of = {} if provider is None else {"wanted": provider}
    return [
        entities.node_from(row) for row in conn.execute(statements.nodes(of_provider=bool(of), final=final), of).all()
    ]


def nodes_page(conn: Connection, limit: int, after: str | None, *, final: bool) -> list[Node]:
    """A page of nodes, oldest first, starting after id `after`."""
    table = schema.nodes
    query = select(table).order_by(table.c.id).limit(limit)
    if not final:
        query = query.where(table.c.state.not_in(statements.FINAL_NODES))
    if after is not None:
        query = query.where(table.c.id > after)
    return [entities.node_from(row) for row in conn.execute(query)]


def intent(conn: Connection, intent_id: str) -> Intent:
    """An intent by id. Raises `NotFound`."""
    return entities.intent_from(_one(conn, schema.intents, intent_id, "intent"))


def pending_intents(conn: Connection, kinds: Iterable[IntentKind], node_id: str | None = None) -> list[Intent]:
    """Intents that are owed, oldest first."""
    of = {"kinds": list(kinds)} | ({} if node_id is None else {"wanted": node_id})
    return [
        entities.intent_from(row) for row in conn.execute(statements.pending_intents(of_node=node_id is not None), of)
    ]


def intents_of(conn: Connection, node_id: str, kind: IntentKind) -> list[Intent]:
    """All intents of one kind ever owed to a node, oldest first."""
    table = schema.intents
    query = select(table).where(table.c.node_id == node_id, table.c.kind == kind).order_by(table.c.id)
    return [entities.intent_from(row) for row in conn.execute(query)]


def intents_of_attempt(conn: Connection, attempt_id: str, node_id: str) -> list[Intent]:
    """All intents about one attempt owed to one node, oldest first."""
    rows = conn.execute(statements.INTENTS_OF_ATTEMPT, {"of_node": node_id, "of_attempt": attempt_id})
    return [entities.intent_from(row) for row in rows]


def launched_nodes(conn: Connection, tokens: Iterable[str]) -> dict[str, str]:
    """Which node each launch token belongs to; unknown tokens are left out."""
    return {row.id: row.node_id for row in conn.execute(statements.LAUNCHED, {"tokens": list(tokens)})}


def events(
    conn: Connection,
    after: int,
    limit: int,
    *,
    job_id: str | None = None,
    array_id: str | None = None,
    node_id: str | None = None,
    incident_id: str | None = None,
) -> list[Event]:
    """Events after number `after`, oldest first."""
    table = schema.events
    query = select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)
    if job_id is not None:
        query = query.where(table.c.job_id == job_id)
    if array_id is not None:
        query = query.where(table.c.job_id.in_(arrays.job_ids(array_id)))
    if node_id is not None:
        query = query.where(table.c.node_id == node_id)
    if incident_id is not None:
        query = query.where(table.c.subject == "incident", table.c.subject_id == incident_id)
    return [entities.event_from(row) for row in conn.execute(query)]


def has_event(conn: Connection, node_id: str, kind: str) -> bool:
    """Whether this ever happened to a node."""
    table = schema.events
    return conn.execute(select(table.c.seq).where(table.c.node_id == node_id, table.c.kind == kind)).first() is not None


def state_before(conn: Connection, node_id: str, state: str) -> str | None:
    """What a node was when it last became `state`; None if it never did."""
    table = schema.events
    is_it = (table.c.node_id == node_id, table.c.kind == "node.state", table.c.new == state)
    return conn.execute(select(table.c.old).where(*is_it).order_by(table.c.seq.desc()).limit(1)).scalar()


def last_events(conn: Connection, limit: int, job_id: str) -> list[Event]:
    """The last events of a job, oldest first."""
    table = schema.events
    query = select(table).where(table.c.job_id == job_id).order_by(table.c.seq.desc()).limit(limit)
    return [entities.event_from(row) for row in conn.execute(query)][::-1]


def offers(conn: Connection, provider: str | None = None) -> list[Offer]:
    """What can be bought, as last seen."""
    query = statements.OFFERS if provider is None else statements.OFFERS.where(schema.offers.c.provider == provider)
    return [entities.listed_offer_from(row.data, row.seen_at) for row in conn.execute(query)]


def offers_count(conn: Connection, provider: str) -> int:
    """How many offers a provider has, without reading them."""
    table = schema.offers
    return conn.execute(select(func.count()).where(table.c.provider == provider)).scalar_one()


def holds(conn: Connection, now: float) -> list[Hold]:
    """Offers that are passed over now."""
    return [Hold(row.offer_key, row.until, row.reason) for row in conn.execute(statements.HOLDS, {"now": now})]


def records(conn: Connection) -> dict[OfferKey, Record]:
    """What happened with each offer that was ever tried."""
    return {OfferKey(row.offer_key): Record(*row[1:]) for row in conn.execute(statements.EXPERIENCE)}


def record(conn: Connection, key: OfferKey) -> Record:
    """What happened with one offer."""
    table = schema.experience
    row = conn.execute(select(table).where(table.c.offer_key == key)).first()
    return UNKNOWN if row is None else Record(*row[1:])


def checkpoints(conn: Connection, job_id: str) -> Sequence[Row[Any]]:
    """Committed checkpoints of a job that were not deleted since, oldest first."""
    table = schema.checkpoints
    of = (table.c.job_id == job_id, table.c.manifest_url != "")
    return conn.execute(select(table).where(*of).order_by(table.c.epoch, table.c.step)).all()


def agent(conn: Connection, node_id: str) -> Row[Any] | None:
    """What is known of a node's agent: its id, the hash of its credential, how far it was heard."""
    return conn.execute(statements.row_of(schema.agents.c.node_id), {"wanted": node_id}).first()


@cache
def _jobs_to_plan() -> tuple[Select[Any], ...]:
    table = schema.jobs
    held = select(schema.attempts.c.job_id).where(schema.attempts.c.state != AttemptState.ENDED)
    active = select(table).where(table.c.state.in_(ACTIVE_JOBS))
    # What a job holds while its last nodes stop still counts for its project, final or not.
    leaving = select(table).where(table.c.state.in_(FINAL_JOBS), table.c.id.in_(held))
    waiting = select(table).where(table.c.id.in_(tenancy.waiting_window()))
    return active, leaving, waiting, dependencies.lost(tenancy.QUEUE_WINDOW_MAX)


def snapshot(conn: Connection, now: float, serving_since: float, policy: Policy) -> Snapshot:
    """All that the planner may know, as of this transaction."""
    rows = {row.id: row for query in _jobs_to_plan() for row in conn.execute(query)}
    jobs = [entities.job_from(row) for row in rows.values()]
    held = holds(conn, now)
    after = {job.after_id for job in jobs if job.after_id is not None and job.state in WAITING_JOBS}
    return Snapshot(
        jobs=tuple(jobs),
        attempts=tuple(live_attempts(conn)),
        nodes=tuple(nodes(conn)),
        offers=tuple(abilities.known(offers(conn), held)),
        holds=tuple(held),
        records=records(conn),
        losses={row.provider: row.at for row in conn.execute(statements.LOSSES)},
        projects=tuple(tenancy.projects(conn)),
        saved_at=tenancy.saved_at(conn),
        yielded_at=tenancy.yielded_at(conn),
        failed_starts=tenancy.failed_starts(conn),
        dependencies=dependencies.standings(conn, after),
        pasts=run_times.pasts(conn, jobs),
        usage=usage.averages(conn),
        served_gpu_s={JobId(row.id): row.served_gpu_s for row in rows.values() if row.served_gpu_s},
        health=health.view(conn, now),
        serving_since=serving_since,
        migrations=moves.seen(conn, now),
        saved_bytes=tenancy.saved_bytes(conn),
        stood_on=tenancy.stood_on(conn),
        spent=budgets.spent(conn, now),
        lacking=sealed.lacking(conn, (job for job in jobs if job.state in (*WAITING_JOBS, JobState.RECOVERING))),
        policy=policy,
    )


def _one(conn: Connection, table: Table, entity_id: str, what: str, listed: str = "") -> Row[Any]:
    row = conn.execute(statements.row_of(table.c.id), {"wanted": entity_id}).first()
    if row is None:
        raise NotFound(f"there is no {what} {entity_id!r}{listed}")
    return row
