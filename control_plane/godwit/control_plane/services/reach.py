"""Whose a job, an array or a service is: for tokens that are bound to a project."""

from collections.abc import Callable, Mapping

from godwit.control_plane.context import Context
from godwit.control_plane.store import arrays, schema
from godwit.control_plane.store import services as stored
from godwit.domain.errors import NotFound
from sqlalchemy import Connection, select

Found = tuple[str, str] | None
"""An id, and the project that it belongs to."""

_LISTED = {"job": "godwit ps -a", "array": "godwit ps -a", "service": "godwit services", "project": "godwit projects"}


def require(context: Context, project: str, kind: str, ref: str) -> str:
    """The id of what is meant, if it is of this project; whoever goes on with the id means the same one.

    Raises `NotFound` otherwise: whether others have such a one is not told.
    """
    with context.db.read() as conn:
        found = _FOUND[kind](conn, ref)
    if found is None or found[1] != project:
        raise NotFound(f"there is no {kind} {ref!r} of project {project}; `{_LISTED[kind]}` lists them all")
    return found[0]


def _job(conn: Connection, ref: str) -> Found:
    table = schema.jobs
    columns = (table.c.id, table.c.project)
    row = conn.execute(select(*columns).where(table.c.id == ref)).first()
    if row is None:
        row = conn.execute(select(*columns).where(table.c.name == ref).order_by(table.c.id.desc()).limit(1)).first()
    # Where a route takes a job or an array by one name, an array is looked for when there is no such job.
    return (row.id, row.project) if row is not None else _array(conn, ref)


def _array(conn: Connection, ref: str) -> Found:
    found = arrays.find(conn, ref)
    return None if found is None else (found.id, found.project)


def _service(conn: Connection, ref: str) -> Found:
    service = stored.find(conn, ref)
    if service is not None:
        return service.id, service.project
    replica = stored.replica(conn, ref) or stored.replica_named(conn, ref)
    return None if replica is None else (replica.id, stored.get(conn, replica.service_id).project)


_FOUND: Mapping[str, Callable[[Connection, str], Found]] = {
    "job": _job,
    "array": _array,
    "service": _service,
    "project": lambda _conn, ref: (ref, ref),
}
