"""Why what is there is not replaced by a backup; each is asked before anything is touched."""

from pathlib import Path

from godwit.control_plane import home
from godwit.control_plane.backup import backing
from godwit.control_plane.backup.archive import Manifest
from godwit.control_plane.store import queries, restored, schema
from godwit.control_plane.store.database import SERVING, WORKING, open_engine
from godwit.domain.errors import Conflict
from sqlalchemy import Connection, bindparam, func, make_url, select, text
from sqlalchemy.exc import DatabaseError

_CONNECTED = text(
    "SELECT DISTINCT application_name FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name IN :names"
).bindparams(bindparam("names", expanding=True))

_KINDS = {
    SERVING: ("a control plane", "`systemctl stop godwit`"),
    WORKING: ("a worker", "`systemctl stop godwit-worker`"),
}
"""Who works on a database, by what its connections are called there: what it is, and how it is stopped as a service."""


def held(folder: Path) -> None:
    """Raise `Conflict` while control planes with names hold `folder`; one without is met at its lock."""
    told = home.named_holders(folder)
    if told:
        raise Conflict(
            f"control planes run on {folder}: {told}; stop all of them first (`systemctl stop godwit` "
            "where they are services, or end those processes)"
        )


def in_use(conn: Connection) -> None:
    """Raise `Conflict` while a control plane or a worker is connected to the same PostgreSQL, wherever it runs."""
    found = set(conn.execute(_CONNECTED, {"names": list(_KINDS)}).scalars())
    kinds = [kind for name, kind in _KINDS.items() if name in found]
    if kinds:
        who = " and ".join(what for what, _ in kinds)
        stops = " and ".join(stop for _, stop in kinds)
        be = "is" if len(kinds) == 1 else "are"
        raise Conflict(
            f"{who} {be} connected to the database; stop all of them first: {stops} on their machines, "
            "or end their processes"
        )


def served(url: str) -> None:
    """The same for a database by its address; a SQLite file is its home's, and held with that."""
    if make_url(url).get_backend_name() == "sqlite":
        return
    engine = open_engine(url)
    try:
        with engine.connect() as conn:
            in_use(conn)
    finally:
        engine.dispose()


def newer(url: str, manifest: Manifest) -> None:
    """Raise `Conflict` for a database that is another's or newer than the backup, or that cannot be read.

    One that came out of the same backup, and that nobody served since, is not newer: what began it may not have ended.
    """
    if url.startswith("sqlite") and not Path(make_url(url).database or "").exists():
        return
    engine = open_engine(url)
    try:
        with engine.connect() as conn:
            if backing.revision(conn) is None:
                return
            identity, last = queries.meta(conn, "identity"), restored.find(conn)
            newest = conn.execute(select(func.max(schema.events.c.at))).scalar() or 0.0
    except DatabaseError as exc:
        why = f"what is there cannot be read ({exc.orig})"
        raise Conflict(f"{why}; --over-newer replaces it, and keeps it beside") from exc
    finally:
        engine.dispose()
    is_same = last is not None and last.backup_at == manifest.at and newest <= last.restored_at
    if identity is not None and identity != manifest.identity:
        why = f"the database there is that of {identity}, the backup of {manifest.identity}"
    elif newest > manifest.at and not is_same:
        lost_s = newest - manifest.at
        why = f"the database there is newer than the backup, by {lost_s:.0f} s that would be lost"
    else:
        return
    raise Conflict(f"{why}; --over-newer replaces it, and keeps it beside")
