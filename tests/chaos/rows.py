"""What the harness reads from the database by itself: the control planes may all be down."""

from collections.abc import Callable
from typing import TypeVar

from godwit.control_plane.store import bills, ledger_facts, schema
from godwit.control_plane.store.database import Database
from godwit.control_plane.store.ledger_tables import bills as bills_table
from godwit.domain import lifecycle
from godwit.domain.intents import IntentState
from godwit.domain.jobs import JobState
from godwit.domain.nodes import NodeState
from godwit.scheduler.ledger.accounting import Entry, account
from godwit.scheduler.ledger.bills import Bill
from godwit.scheduler.ledger.reading import Reader
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

Value = TypeVar("Value")


def asked(db: Database, question: Callable[[Connection], Value]) -> Value | None:
    """The answer, or None while there is no database."""
    try:
        with db.read() as conn:
            return question(conn)
    except SQLAlchemyError:
        return None


def is_heard(db: Database, instance_id: str, since: float) -> bool:
    """Whether a machine's agent was heard after an instant, or its node is none any more."""
    columns = (schema.nodes.c.state, schema.nodes.c.last_seen_at)
    query = select(*columns).where(schema.nodes.c.instance_id == instance_id)
    row = asked(db, lambda conn: conn.execute(query).first())
    if row is None:
        return False
    return lifecycle.is_final(NodeState(row.state)) or (row.last_seen_at or 0.0) > since


def has_ended(db: Database, job: str) -> bool:
    """Whether a job is over."""
    query = select(schema.jobs.c.state).where(schema.jobs.c.name == job)
    state = asked(db, lambda conn: conn.execute(query).scalar())
    return state is not None and lifecycle.is_final(JobState(state))


def living_nodes(db: Database) -> int | None:
    """How many nodes have not ended; None while there is no database."""
    query = select(schema.nodes.c.state, func.count()).group_by(schema.nodes.c.state)
    rows = asked(db, lambda conn: conn.execute(query).all())
    return None if rows is None else sum(count for state, count in rows if not lifecycle.is_final(NodeState(state)))


def unsettled(db: Database) -> list[str]:
    """Intents that are still owed, and nodes and attempts that have not ended."""
    pending = select(schema.intents).where(schema.intents.c.state == IntentState.PENDING)
    with db.read() as conn:
        found = [f"intent {row.kind} of {row.node_id}: {row.detail}" for row in conn.execute(pending)]
        nodes = conn.execute(select(schema.nodes.c.id, schema.nodes.c.state, schema.nodes.c.detail)).all()
        attempts = conn.execute(select(schema.attempts.c.id, schema.attempts.c.state)).all()
    found += [f"node {id_} is {state}: {why}" for id_, state, why in nodes if not lifecycle.is_final(NodeState(state))]
    return found + [f"attempt {id_} is {state}" for id_, state in attempts if state not in {"ended", "gone"}]


def paid(db: Database, until: float) -> tuple[list[Bill], list[Entry]]:
    """Every bill, and who had each of its seconds for what reason."""
    with db.read() as conn:
        found = [bills.bill_from(row) for row in conn.execute(select(bills_table))]
        nodes = ledger_facts.nodes(conn, [bill.node_id for bill in found if bill.node_id])
        reader = Reader(ledger_facts.facts(conn, 0.0))
    entries: list[Entry] = []
    for bill in found:
        node = nodes.get(bill.node_id) if bill.node_id else None
        entries += account(bill, None if node is None else reader.story(node), 0.0, until)
    return found, entries


def tries(db: Database) -> dict[str, tuple[int, int]]:
    """How often each job was placed, and how often interrupted, by its name."""
    columns = (schema.jobs.c.name, schema.jobs.c.epoch, schema.jobs.c.interruptions)
    with db.read() as conn:
        return {row.name: (row.epoch, row.interruptions) for row in conn.execute(select(*columns))}


def names(db: Database) -> list[str]:
    """The name of every job there is."""
    with db.read() as conn:
        return list(conn.execute(select(schema.jobs.c.name)).scalars())
