"""Secrets of projects as they lie here: sealed, by version; and which version each attempt was given."""

from collections.abc import Iterable, Mapping, Sequence

from godwit.control_plane.envelope import Sealed
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.schema import attempts, metadata
from godwit.domain.ids import JobId
from godwit.domain.jobs import AttemptState, Job
from godwit.domain.secrets import SecretRef
from sqlalchemy import Column, Connection, Float, Integer, Row, String, Table, Text, func, insert, select, update

# A version that was removed stays as a row without a value: numbers are never used again, so that a job that names
# one does not get another's value.
secrets = Table(
    "secrets",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("removed_at", Float),
)

# Written when the first node of an attempt asks, so that all of them, and an agent that takes over, get the same.
attempt_secrets = Table(
    "attempt_secrets",
    metadata,
    Column("attempt_id", String(64), primary_key=True),
    Column("variable", String(255), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("version", Integer, nullable=False),
)

_KEPT = secrets.c.removed_at.is_(None)


def versions(conn: Connection, project: str, name: str) -> Sequence[Row[tuple[object, ...]]]:
    """The versions of a secret that have a value, newest first."""
    wanted = (secrets.c.project == project, secrets.c.name == name, _KEPT)
    return conn.execute(select(secrets).where(*wanted).order_by(secrets.c.version.desc())).all()


def newest(conn: Connection, project: str, limit: int, after: str | None) -> list[tuple[Row[tuple[object, ...]], int]]:
    """A page of a project's secrets by name: the newest version of each, and how many versions it has."""
    of = select(secrets.c.name, func.max(secrets.c.version).label("version"), func.count().label("count"))
    of = of.where(secrets.c.project == project, _KEPT).group_by(secrets.c.name).order_by(secrets.c.name).limit(limit)
    if after is not None:
        of = of.where(secrets.c.name > after)
    last = of.subquery()
    same = (secrets.c.name == last.c.name) & (secrets.c.version == last.c.version) & (secrets.c.project == project)
    rows = conn.execute(select(secrets, last.c.count.label("count")).join(last, same).order_by(secrets.c.name))
    return [(row, int(row[-1])) for row in rows]


def counted(conn: Connection, project: str) -> int:
    """How many secrets a project has."""
    query = select(func.count(secrets.c.name.distinct())).where(secrets.c.project == project, _KEPT)
    return int(conn.execute(query).scalar_one())


def next_version(conn: Connection, project: str, name: str) -> int:
    """The number after all that were ever used."""
    of = (secrets.c.project == project, secrets.c.name == name)
    return int(conn.execute(select(func.coalesce(func.max(secrets.c.version), 0)).where(*of)).scalar_one()) + 1


def add(tx: Transaction, project: str, name: str, version: int, sealed: Sealed, actor: str, now: float) -> None:
    """Write a new version."""
    values = {"key_id": sealed.key_id, "wrapped": sealed.wrapped, "sealed": sealed.text}
    whose = {"project": project, "name": name, "version": version}
    tx.conn.execute(insert(secrets).values(**whose, **values, created_at=now, created_by=actor[:64]))


def remove(tx: Transaction, project: str, name: str | None, version: int | None, now: float) -> int:
    """Forget the values of a version, of a secret (None), or of a whole project (no name); returns how many."""
    statement = update(secrets).where(secrets.c.project == project, _KEPT)
    if name is not None:
        statement = statement.where(secrets.c.name == name)
    if version is not None:
        statement = statement.where(secrets.c.version == version)
    return tx.conn.execute(statement.values(sealed="", wrapped="", key_id="", removed_at=now)).rowcount


def sealed_of(row: Row[tuple[object, ...]]) -> Sealed:
    """The sealed value of a row."""
    return Sealed(row.key_id, row.wrapped, row.sealed)


def of_other_keys(conn: Connection, key_id: str) -> Sequence[Row[tuple[object, ...]]]:
    """The versions whose data keys another key wrapped."""
    return conn.execute(select(secrets).where(secrets.c.key_id != key_id, _KEPT)).all()


def rewrap(tx: Transaction, row: Row[tuple[object, ...]], sealed: Sealed) -> None:
    """Write a data key that was wrapped anew."""
    of = (secrets.c.project == row.project, secrets.c.name == row.name, secrets.c.version == row.version, _KEPT)
    tx.conn.execute(update(secrets).where(*of).values(key_id=sealed.key_id, wrapped=sealed.wrapped))


def missing(conn: Connection, project: str, wanted: Mapping[str, SecretRef]) -> dict[str, SecretRef]:
    """Those of the wanted secrets that there are not."""
    if not wanted:
        return {}
    names = {ref.name for ref in wanted.values()}
    of = (secrets.c.project == project, secrets.c.name.in_(names), _KEPT)
    there = {(row.name, row.version) for row in conn.execute(select(secrets.c.name, secrets.c.version).where(*of))}
    any_of = {name for name, _version in there}
    return {
        variable: ref
        for variable, ref in wanted.items()
        if (ref.name not in any_of if ref.version is None else (ref.name, ref.version) not in there)
    }


def lacking(conn: Connection, jobs: Iterable[Job]) -> dict[JobId, str]:
    """What each of these jobs cannot start without, by its first secret that is gone."""
    found: dict[JobId, str] = {}
    for job in jobs:
        gone = missing(conn, job.project, job.spec.secrets) if job.spec.secrets else {}
        if gone:
            found[job.id] = str(next(iter(gone.values())))
    return found


def given(conn: Connection, attempt_id: str) -> Sequence[Row[tuple[object, ...]]]:
    """Which versions an attempt was given, by variable."""
    table = attempt_secrets
    return conn.execute(select(table).where(table.c.attempt_id == attempt_id).order_by(table.c.variable)).all()


def give(tx: Transaction, attempt_id: str, project: str, chosen: Mapping[str, tuple[str, int]]) -> None:
    """Write down which versions an attempt is given, for good."""
    rows = [
        {"attempt_id": attempt_id, "variable": variable, "project": project, "name": name, "version": version}
        for variable, (name, version) in chosen.items()
    ]
    if rows:
        tx.conn.execute(insert(attempt_secrets), rows)


def users(conn: Connection, project: str, name: str) -> dict[int, list[str]]:
    """The attempts that have not ended, by the version that they were given."""
    table = attempt_secrets
    query = select(table.c.version, table.c.attempt_id).distinct().join(attempts, attempts.c.id == table.c.attempt_id)
    query = query.where(table.c.project == project, table.c.name == name, attempts.c.state != AttemptState.ENDED)
    found: dict[int, list[str]] = {}
    for version, attempt_id in conn.execute(query.order_by(table.c.attempt_id)):
        found.setdefault(version, []).append(attempt_id)
    return found
