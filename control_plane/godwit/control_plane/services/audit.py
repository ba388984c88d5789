"""The audit log: who changed what, from where, and what came of it. Only added to, never changed."""

from typing import Any

from godwit.control_plane.context import Context
from godwit.control_plane.store import access
from godwit.domain.access import Caller, Role
from godwit.domain.wire.access import AuditCheck, AuditView
from sqlalchemy import Row

PATH_CHARACTERS_MAX = 512

_BATCH = 1_000


def add(context: Context, caller: Caller, method: str, route: str, path: str, source: str, status: int) -> None:
    """Write down one request. Its body, its query and its headers are not: they may hold secrets."""
    fields = {
        "at": context.now(), "actor": caller.actor, "role": caller.role.value, "project": caller.project,
        "method": method[:16], "route": route[:255], "path": path[:PATH_CHARACTERS_MAX], "source": source[:64],
        "status": status,
    }  # fmt: skip
    with context.db.write() as tx:
        access.add_audited(tx, fields)


def page(context: Context, limit: int, before: int | None, actor: str | None) -> list[AuditView]:
    """A page of it, the newest first."""
    with context.db.read() as conn:
        return [_view(row) for row in access.audit_page(conn, limit, before, actor)]


def check(context: Context) -> AuditCheck:
    """Walk the chain from its beginning: where it breaks, a row was changed, or one is missing."""
    rows, before = 0, ""
    with context.db.read() as conn:
        while found := access.audit_from(conn, rows, _BATCH):
            for row in found:
                rows += 1
                if row.seq != rows or row.hash != access.chained(before, row._asdict()):
                    return AuditCheck(rows=rows - 1, is_intact=False, broken_at=rows)
                before = row.hash
    return AuditCheck(rows=rows, is_intact=True, broken_at=None)


def _view(row: Row[Any]) -> AuditView:
    return AuditView(
        seq=row.seq, at=row.at, actor=row.actor, role=Role(row.role), project=row.project, method=row.method,
        route=row.route, path=row.path, source=row.source, status=row.status,
    )  # fmt: skip
