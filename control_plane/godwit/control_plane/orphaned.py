"""Machines that a restored database does not know, as their providers were last listed: shown, and ended when asked."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from godwit.control_plane import settings as settings_module
from godwit.control_plane.store import entities, restored
from godwit.control_plane.store.database import Database, open_engine, that_exists
from godwit.domain.errors import Conflict
from godwit.domain.events import Event


def listed(home: Path) -> Iterator[str]:
    """A line for each, and one that says what becomes of them."""
    db = Database(open_engine(that_exists(settings_module.read(home).database_url)))
    try:
        with db.read() as conn:
            last, found = restored.find(conn), restored.all_orphans(conn)
    finally:
        db.close()
    if last is None:
        yield f"none: the database of {home} never was restored, so it knows every machine with its mark"
        return
    lines = [
        f"{provider}  {one.id}  {one.instance_type}  {one.region}  ${one.price_usd_per_hour:.2f}/h"
        for provider, orphans in sorted(found.items())
        for one in orphans
    ]
    yield from lines
    if not lines:
        yield (
            "no machine is there that the database does not know"
            if found
            else "no provider was listed since the restore"
        )
    elif last.orphans_end_at is None:
        yield f"{len(lines)} kept, and paid for; `godwit orphans --end` ends them"
    else:
        yield f"{len(lines)} to be ended, unless their agents come back before"


def end(home: Path, now: float) -> None:
    """Let the control plane of `home` end them at its next look. Raises `Conflict` where nothing was ever restored."""
    db = Database(open_engine(that_exists(settings_module.read(home).database_url)))
    try:
        with db.write() as tx:
            last = restored.find(tx.conn)
            if last is None:
                raise Conflict(f"the database of {home} never was restored; machines that nobody owns are ended anyway")
            restored.put(tx, replace(last, orphans_end_at=now))
            reason = "whoever runs this machine asked for the end of what the backup does not know"
            told = Event(now, "database.orphans", "database", "database", reason, "restore")
            entities.append(tx, told)
    finally:
        db.close()
