"""Statements that are built once and carried out often, what changes in them being parameters.

To build one takes SQLAlchemy longer than to carry it out on tables of this size, and of each new one it must make out
first whether it is like one that it compiled before.
"""

from functools import cache
from typing import Any

from godwit.control_plane.store import schema
from godwit.domain import lifecycle
from godwit.domain.intents import IntentKind, IntentState
from godwit.domain.jobs import AttemptState
from godwit.domain.nodes import NodeState
from sqlalchemy import Column, Insert, Select, Table, Update, bindparam, insert, select, update

FINAL_NODES = tuple(state for state in NodeState if lifecycle.is_final(state))

LIVE_ATTEMPTS = select(schema.attempts).where(schema.attempts.c.state != AttemptState.ENDED)

INTENTS_OF_ATTEMPT = (
    select(schema.intents)
    .where(schema.intents.c.node_id == bindparam("of_node"), schema.intents.c.attempt_id == bindparam("of_attempt"))
    .order_by(schema.intents.c.id)
)

LAUNCHED = select(schema.intents.c.id, schema.intents.c.node_id).where(
    schema.intents.c.kind == IntentKind.LAUNCH_NODE, schema.intents.c.id.in_(bindparam("tokens", expanding=True))
)

OFFERS = select(schema.offers.c.data, schema.offers.c.seen_at).order_by(schema.offers.c.key)
HOLDS = select(schema.holds).where(schema.holds.c.until > bindparam("now")).order_by(schema.holds.c.offer_key)
EXPERIENCE = select(schema.experience)
LOSSES = select(schema.losses)


@cache
def row_of(column: Column[Any]) -> Select[Any]:
    """Whole rows of the column's table in which it is the parameter `wanted`."""
    return select(column.table).where(column == bindparam("wanted"))


@cache
def insert_into(table: Table) -> Insert:
    """A new row, or many; the parameters are its columns."""
    return insert(table)


@cache
def update_where(*columns: Column[Any]) -> Update:
    """A change of the rows in which each of these columns is the parameter `of_<column>`; the others are set."""
    table = columns[0].table
    assert isinstance(table, Table)
    return update(table).where(*(column == bindparam(f"of_{column.name}") for column in columns))


@cache
def newest_job_named() -> Select[Any]:
    """The newest job with the name `wanted`."""
    return row_of(schema.jobs.c.name).order_by(schema.jobs.c.id.desc()).limit(1)


@cache
def nodes(*, of_provider: bool, final: bool) -> Select[Any]:
    """Nodes, oldest first, all or those of the provider `wanted`; without the final ones unless `final`."""
    table = schema.nodes
    query = row_of(table.c.provider) if of_provider else select(table)
    return (query if final else query.where(table.c.state.not_in(FINAL_NODES))).order_by(table.c.id)


@cache
def pending_intents(*, of_node: bool) -> Select[Any]:
    """Intents of these `kinds` that are owed, oldest first, all or those to the node `wanted`."""
    table = schema.intents
    query = row_of(table.c.node_id) if of_node else select(table)
    of_kinds = table.c.kind.in_(bindparam("kinds", expanding=True))
    return query.where(table.c.state == IntentState.PENDING, of_kinds).order_by(table.c.id)
