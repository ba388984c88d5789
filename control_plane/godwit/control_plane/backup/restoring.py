"""A home and its database from one file: verified first, written whole or not at all, and what was there is kept."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from godwit.control_plane import settings as settings_module
from godwit.control_plane.backup import archive, backing, home_files, opening, refusals, rows, settling
from godwit.control_plane.backup.archive import Manifest
from godwit.control_plane.home import Home
from godwit.control_plane.store import in_line, queries, tables
from godwit.control_plane.store.database import MIGRATIONS, Transaction, open_engine, upgrade
from godwit.control_plane.store.restored import Restored
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.ids import IdSource
from sqlalchemy import Connection, delete, make_url, text

ORPHANS_END_AFTER_S = 900.0
"""How long machines bought after the backup have to come back before they are ended: what the lifecycle of nodes gives
a machine to boot (`domain.lifecycle`)."""

_LOCK_WAIT_S = 10


@dataclass(frozen=True)
class Wish:
    """What whoever restores decides. `over_newer`: replace what is newer, another control plane's, or unreadable."""

    end_orphans: bool = False
    over_newer: bool = False


@dataclass(frozen=True)
class Done:
    """What was restored, and where what was there before lies now: None when there was nothing."""

    manifest: Manifest
    restored: Restored
    kept: Path | None


def restore(folder: Path, source: Path, now: float, wish: Wish) -> Done:
    """Make `folder` and its database what they were when `source` was written. Blocks; the control plane must be down.

    Raises `InvalidRequest` for a file that is no whole backup, is of a newer godwit, or holds what no key here opens;
    `Conflict` when a control plane or a worker runs there, or when what is there is newer than the backup. Nothing was
    changed then, and no file is left.

    The home's files follow once the database is certain. Whoever dies before that has changed nothing; between the two,
    the same restore again mends it, as it does wherever it ends with an error after that.
    """
    manifest = archive.verified(source)
    if not list((MIGRATIONS / "versions").glob(f"m{manifest.schema}_*.py")):
        raise InvalidRequest(f"{source} was written by godwit {manifest.version}, which is newer; install that first")
    stamp = time.strftime("before-restore-%Y%m%dT%H%M%S", time.gmtime(now))

    def fill(conn: Connection) -> Restored:
        _fill(conn, source, manifest)
        ids = IdSource(lambda: now, random.SystemRandom())
        return settling.settle(
            Transaction(conn), ids, manifest.at, now, end_orphans=wish.end_orphans, end_after_s=ORPHANS_END_AFTER_S
        )

    with Home(folder).hold(), home_files.configured(folder, source):
        refusals.held(folder)
        url = settings_module.read(folder).database_url
        refusals.served(url)
        if not wish.over_newer:
            refusals.newer(url, manifest)
        opening.refuse_closed(source, folder)
        into = _into_sqlite if make_url(url).get_backend_name() == "sqlite" else _into_postgres
        with home_files.staged(folder, source) as put:
            restored, kept = into(url, folder, stamp, fill)
            try:
                put(stamp)
            except OSError as exc:
                why = f"the database is restored, but not every file of {folder} ({exc})"
                raise Conflict(f"{why}; start nothing before the same restore has worked") from exc
        return Done(manifest, restored, kept)


def _into_sqlite(
    url: str, _folder: Path, stamp: str, fill: Callable[[Connection], Restored]
) -> tuple[Restored, Path | None]:
    """Fill a new file, and put it in the place of the old one, which is renamed."""
    path = Path(make_url(url).database or "")
    draft, kept = path.with_name(f"{path.name}.restoring"), path.with_name(f"{path.name}.{stamp}")
    _remove(draft)
    try:
        restored = _filled(draft, fill)
    except BaseException:
        _remove(draft)
        raise
    was_there = path.exists()
    for suffix in ("-wal", "-shm", ""):
        if Path(f"{path}{suffix}").exists():
            Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
    draft.rename(path)
    return restored, kept if was_there else None


def _filled(draft: Path, fill: Callable[[Connection], Restored]) -> Restored:
    engine = open_engine(f"sqlite:///{draft.absolute()}")
    try:
        with engine.begin() as conn:
            return fill(conn)
    finally:
        engine.dispose()  # the last connection takes its log into the file


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _into_postgres(
    url: str, folder: Path, stamp: str, fill: Callable[[Connection], Restored]
) -> tuple[Restored, Path | None]:
    """Replace our tables in one transaction; what they held is backed up first. Other tables are left alone."""
    engine = open_engine(url)
    kept = folder / f"{stamp}.godwit"
    try:
        with engine.connect() as conn:
            is_empty = backing.revision(conn) is None or queries.meta(conn, "identity") is None
        if not is_empty:
            backing.write(folder, url, kept, time.time())
        with engine.begin() as conn:
            try:
                restored = _replaced(conn, fill)
            except BaseException:  # not the commit: whether that came through cannot be told when it fails
                kept.unlink(missing_ok=True)
                raise
        return restored, None if is_empty else kept
    finally:
        engine.dispose()


def _replaced(conn: Connection, fill: Callable[[Connection], Restored]) -> Restored:
    conn.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'"))
    # Whoever starts from here on waits for the end of this transaction before it reads anything.
    in_line.begin_migrating(conn)
    refusals.in_use(conn)
    found = rows.reflected(conn)
    ours = {*tables.EVERY.tables, rows.VERSIONS}
    found.drop_all(conn, [table for name, table in found.tables.items() if name in ours])
    return fill(conn)


def _fill(conn: Connection, source: Path, manifest: Manifest) -> None:
    """Make the tables as they were in the backup, then bring them up to date."""
    upgrade(conn, manifest.schema)
    parts_of = {f"tables/{table.name}": table for table in rows.tables(rows.reflected(conn))}
    for table in parts_of.values():
        conn.execute(delete(table))  # what migrations put in
    with archive.reading(source) as parts:
        for name, content in parts:
            if name in parts_of:
                rows.read(conn, parts_of[name], content)
    upgrade(conn)
