"""A home and its database from one file: verified first, written whole or not at all, and what was there is kept."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from godwit.control_plane import keyring
from godwit.control_plane import settings as settings_module
from godwit.control_plane.backup import archive, backing, rows, settling
from godwit.control_plane.backup.archive import Manifest
from godwit.control_plane.home import Home
from godwit.control_plane.store import queries, schema
from godwit.control_plane.store.database import MIGRATIONS, SERVING, Transaction, open_engine, upgrade
from godwit.control_plane.store.restored import Restored
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.ids import IdSource
from sqlalchemy import Connection, delete, func, make_url, select, text
from sqlalchemy.exc import DatabaseError

ORPHANS_END_AFTER_S = 900.0
"""How long machines bought after the backup have to come back before they are ended: what the lifecycle of nodes gives
a machine to boot (`domain.lifecycle`)."""

HOME_FILE_BYTES_MAX = 2**20
"""What is read of one file of a home: a configuration, or a key."""

_SERVED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"

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

    Raises `InvalidRequest` for a file that is no whole backup, or is of a newer godwit; `Conflict` when a control plane
    runs there, or when what is there is newer than the backup. The database was not changed then.
    """
    manifest = archive.verified(source)
    if not list((MIGRATIONS / "versions").glob(f"m{manifest.schema}_*.py")):
        raise InvalidRequest(f"{source} was written by godwit {manifest.version}, which is newer; install that first")
    stamp = time.strftime("before-restore-%Y%m%dT%H%M%S", time.gmtime(now))
    with Home(folder).hold():
        files = _home_files(source)
        if not (folder / "config.yaml").exists() and "config.yaml" in files:
            keyring.write_private(folder / "config.yaml", files["config.yaml"])
        url = settings_module.read(folder).database_url

        def fill(conn: Connection) -> Restored:
            _fill(conn, source, manifest)
            ids = IdSource(lambda: now, random.SystemRandom())
            return settling.settle(
                Transaction(conn), ids, manifest.at, now, end_orphans=wish.end_orphans, end_after_s=ORPHANS_END_AFTER_S
            )

        into = _into_sqlite if make_url(url).get_backend_name() == "sqlite" else _into_postgres
        _refuse_newer(url, manifest, wish)
        _put_archives(folder / "archives", source)
        _put_files(folder, files, stamp)
        return Done(manifest, *into(url, folder, stamp, fill))


def _into_sqlite(
    url: str, _folder: Path, stamp: str, fill: Callable[[Connection], Restored]
) -> tuple[Restored, Path | None]:
    """Fill a new file, and put it in the place of the old one, which is renamed."""
    path = Path(make_url(url).database or "")
    draft, kept = path.with_name(f"{path.name}.restoring"), path.with_name(f"{path.name}.{stamp}")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{draft}{suffix}").unlink(missing_ok=True)
    engine = open_engine(f"sqlite:///{draft.absolute()}")
    try:
        with engine.begin() as conn:
            restored = fill(conn)
    finally:
        engine.dispose()  # the last connection takes its log into the file
    was_there = path.exists()
    for suffix in ("-wal", "-shm", ""):
        if Path(f"{path}{suffix}").exists():
            Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
    draft.rename(path)
    return restored, kept if was_there else None


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
            backing.backup(folder, kept, time.time())
        with engine.begin() as conn:
            if conn.execute(text(_SERVED), {"name": SERVING}).scalar_one():
                raise Conflict("a control plane is connected to the database; stop all of them first")
            conn.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'"))
            found = rows.reflected(conn)
            ours = {*schema.metadata.tables, rows.VERSIONS}
            found.drop_all(conn, [table for name, table in found.tables.items() if name in ours])
            return fill(conn), None if is_empty else kept
    finally:
        engine.dispose()


def _fill(conn: Connection, source: Path, manifest: Manifest) -> None:
    """Make the tables as they were in the backup, then bring them up to date."""
    upgrade(conn, manifest.schema)
    tables = {f"tables/{table.name}": table for table in rows.tables(rows.reflected(conn))}
    for table in tables.values():
        conn.execute(delete(table))  # what migrations put in
    with archive.reading(source) as parts:
        for name, content in parts:
            if name in tables:
                rows.read(conn, tables[name], content)
    upgrade(conn)


def _refuse_newer(url: str, manifest: Manifest, wish: Wish) -> None:
    path = make_url(url).database
    if wish.over_newer or (url.startswith("sqlite") and not Path(path or "").exists()):
        return
    engine = open_engine(url)
    try:
        with engine.connect() as conn:
            if backing.revision(conn) is None:
                return
            identity = queries.meta(conn, "identity")
            newest = conn.execute(select(func.max(schema.events.c.at))).scalar() or 0.0
    except DatabaseError as exc:
        why = f"what is there cannot be read ({exc.orig})"
        raise Conflict(f"{why}; --over-newer replaces it, and keeps it beside") from exc
    finally:
        engine.dispose()
    if identity is not None and identity != manifest.identity:
        why = f"the database there is that of {identity}, the backup of {manifest.identity}"
    elif newest > manifest.at:
        lost_s = newest - manifest.at
        why = f"the database there is newer than the backup, by {lost_s:.0f} s that would be lost"
    else:
        return
    raise Conflict(f"{why}; --over-newer replaces it, and keeps it beside")


def _home_files(source: Path) -> dict[str, bytes]:
    found = {}
    with archive.reading(source) as parts:
        for name, content in parts:
            folder, _, plain = name.partition("/")
            if folder == "home" and plain in backing.HOME_FILES:
                found[plain] = content.read(HOME_FILE_BYTES_MAX)
    return found


def _put_files(folder: Path, files: dict[str, bytes], stamp: str) -> None:
    """Keys and the first token as they were; a configuration that is there is its owner's, and stays."""
    for name, content in files.items():
        path = folder / name
        if name == "config.yaml" or (path.exists() and path.read_bytes() == content):
            continue
        if path.exists():
            path.rename(path.with_name(f"{name}.{stamp}"))
        keyring.write_private(path, content)


def _put_archives(folder: Path, source: Path) -> None:
    """Uploaded workdirs that are not there any more. They are named by what they hold, so none is ever replaced."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with archive.reading(source) as parts:
        for name, content in parts:
            kind, _, plain = name.partition("/")
            if kind != "archives" or not backing.WORKDIR.fullmatch(plain) or (folder / plain).exists():
                continue
            draft = folder / f".{plain}.restoring"
            with draft.open("wb") as file:
                while block := content.read(1 << 20):
                    file.write(block)
            draft.replace(folder / plain)
