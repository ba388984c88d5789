"""Dev environments of before, by name."""

from godwit.control_plane.store import entities, schema
from godwit.domain.jobs import Job, JobKind
from sqlalchemy import Connection, select


def newest(conn: Connection, project: str, name: str) -> Job | None:
    """The newest dev environment of this name in a project; None when there was none."""
    table = schema.jobs
    mine = (table.c.name == name) & (table.c.project == project) & (table.c.kind == JobKind.DEV)
    row = conn.execute(select(table).where(mine).order_by(table.c.id.desc()).limit(1)).first()
    return None if row is None else entities.job_from(row)
