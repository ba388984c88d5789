"""The audit log: who changed what, from where, and what came of it. Only added to, never changed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from godwit.control_plane.context import Context
from godwit.control_plane.store import access
from godwit.domain.access import Caller, Role
from godwit.domain.wire.access import AuditCheck, AuditView
from sqlalchemy import Connection, Row

PATH_CHARACTERS_MAX = 512

_BATCH = 1_000


@dataclass(frozen=True)
class Asked:
    """A request that may change something. Its body, query and headers are not in it: they may hold secrets.

    `answers` is the status that its route answers with when all is well.
    """

    caller: Caller
    method: str
    route: str
    path: str
    source: str
    answers: int


class Entry:
    """What the audit log says of one request, written in the transaction of the first change that it makes.

    So there is no change without its row, whenever this process dies. `asked` tells what is asked, once it is known
    who asks; None for what is not written down. As a `Rider` it goes along with a transaction.
    """

    def __init__(self, context: Context, asked: Callable[[], Asked | None]) -> None:
        self._context, self._asked = context, asked
        self._written: int | None = None
        self._is_over = False

    def is_due(self) -> bool:
        """Whether a change takes it along: the first one, before there is an answer."""
        return self._written is None and not self._is_over

    def write(self, conn: Connection) -> None:
        """Add the row, with the status that is answered when nothing goes wrong from here."""
        asked = self._asked()
        if asked is not None:
            access.add_audited(conn, self._row(asked, asked.answers))

    def committed(self) -> None:
        """The change is made, and so is the row."""
        asked = self._asked()
        self._written = None if asked is None else asked.answers

    def settle(self, status: int) -> None:
        """The answer is known: write it down, unless that was done with the change. Blocks."""
        self._is_over = True
        asked = self._asked()
        if asked is None or status == self._written:
            return
        with self._context.db.write() as tx:
            access.add_audited(tx.conn, self._row(asked, status))

    def _row(self, asked: Asked, status: int) -> dict[str, Any]:
        caller = asked.caller
        return {
            "at": self._context.now(), "actor": caller.actor, "role": caller.role.value, "project": caller.project,
            "method": asked.method[:16], "route": asked.route[:255], "path": asked.path[:PATH_CHARACTERS_MAX],
            "source": asked.source[:64], "status": status,
        }  # fmt: skip


def page(context: Context, limit: int, before: int | None, actor: str | None) -> list[AuditView]:
    """A page of it, the newest first."""
    with context.db.read() as conn:
        return [_view(row) for row in access.audit_page(conn, limit, before, actor)]


@dataclass(frozen=True)
class Known:
    """What an earlier check told, and was kept elsewhere: how many rows there were, and the hash of the last."""

    rows: int
    last_hash: str

    @classmethod
    def read(cls, text: str) -> Self:
        """From `ROWS:HASH`."""
        rows, _, last_hash = text.partition(":")
        return cls(int(rows), last_hash)


def check(context: Context, known: Known | None = None) -> AuditCheck:
    """Walk the chain from its beginning: where it breaks, a row was changed, or one is missing.

    A chain that does not hold the last row that is `known` is broken there: rows were cut off, or all are new.
    """
    rows, before = 0, ""
    with context.db.read() as conn:
        while found := access.audit_from(conn, rows, _BATCH):
            for row in found:
                is_known = known is None or row.seq != known.rows or row.hash == known.last_hash
                if row.seq != rows + 1 or not is_known or row.hash != access.chained(before, row._asdict()):
                    return AuditCheck(rows=rows, is_intact=False, broken_at=rows + 1, last_hash=before)
                rows, before = row.seq, row.hash
    is_cut = known is not None and rows < known.rows
    return AuditCheck(rows=rows, is_intact=not is_cut, broken_at=rows + 1 if is_cut else None, last_hash=before)


def _view(row: Row[Any]) -> AuditView:
    return AuditView(
        seq=row.seq, at=row.at, actor=row.actor, role=Role(row.role), project=row.project, method=row.method,
        route=row.route, path=row.path, source=row.source, status=row.status,
    )  # fmt: skip
