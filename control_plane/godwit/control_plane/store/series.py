"""Figures over time, one bounded row each: how far jobs are, what services take, what GPUs cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import metadata
from godwit.domain.series import Bounds, Series, appended
from pydantic_core import from_json, to_json
from sqlalchemy import Column, Connection, Float, String, Table, Text, bindparam, insert, select, update

series = Table(
    "series",
    metadata,
    Column("key", String(255), primary_key=True),
    # No point is taken before this instant: most are not, and then nothing else of the row is read.
    Column("closed_until", Float, nullable=False),
    Column("data", Text, nullable=False),
)

# Asked with each step that a program tells of, so that they are built once.
_CLOSED_UNTIL = select(series.c.closed_until).where(series.c.key == bindparam("wanted"))
_DATA = select(series.c.data).where(series.c.key == bindparam("wanted"))
_ROW = update(series).where(series.c.key == bindparam("wanted"))
_CHANGED = _ROW.values(closed_until=bindparam("until"), data=bindparam("told"))

PROGRESS = Bounds(512, 1.0)
"""Of a job, from its beginning on: a curve on a screen has no more points than that across."""

TRAFFIC = Bounds(720, 30.0, 6 * 3_600.0)
"""Of a service, of the last six hours; what is older is Prometheus' matter."""

PRICES = Bounds(512, 300.0, 30 * 86_400.0)
"""Of a kind of GPU at one place, of a month."""


def of_job(job_id: str) -> str:
    """The key of how far a job is."""
    return f"progress/{job_id}"


def of_service(service_id: str) -> str:
    """The key of what a service takes."""
    return f"traffic/{service_id}"


def of_price(provider: str, region: str, gpu_model: str, *, spot: bool) -> str:
    """The key of what a kind of GPU costs at one place."""
    return f"price/{provider}/{region}/{'spot' if spot else 'on-demand'}/{gpu_model}"[:255]


def takes(conn: Connection, key: str, at: float) -> bool:
    """Whether a point at this instant would be kept; costs one look at the row's key."""
    closed_until = conn.execute(_CLOSED_UNTIL, {"wanted": key}).scalar()
    return closed_until is None or at >= closed_until


def note(tx: Transaction, key: str, at: float, values: Mapping[str, float], bounds: Bounds) -> None:
    """Add a point, unless the last one is too near."""
    if not takes(tx.conn, key, at):
        return
    grown = appended(read(tx.conn, key), at, values, bounds)
    until, told = at + grown.gap_s, to_json(asdict(grown)).decode()
    if not tx.conn.execute(_CHANGED, {"wanted": key, "until": until, "told": told}).rowcount:
        tx.conn.execute(insert(series).values(key=key, closed_until=until, data=told))


def read(conn: Connection, key: str) -> Series:
    """A series; an empty one where there is none."""
    data = conn.execute(_DATA, {"wanted": key}).scalar()
    return Series() if data is None else _from(data)


def under(conn: Connection, prefix: str, limit: int) -> Sequence[tuple[str, Series]]:
    """The series whose keys begin so, by key."""
    begins = series.c.key.startswith(prefix, autoescape=True)
    rows = conn.execute(select(series.c.key, series.c.data).where(begins).order_by(series.c.key).limit(limit))
    return [(row.key, _from(row.data)) for row in rows]


def _from(data: str) -> Series:
    told = from_json(data)
    return Series(told["gap_s"], tuple(told["at"]), {name: tuple(column) for name, column in told["fields"].items()})
