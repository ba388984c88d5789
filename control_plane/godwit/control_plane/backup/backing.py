"""One file from a home and its database, whoever serves it meanwhile."""

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from godwit.control_plane import settings as settings_module
from godwit.control_plane.backup import archive, rows
from godwit.control_plane.backup.archive import Manifest, Writer
from godwit.control_plane.store import queries, schema, services
from godwit.control_plane.store.database import Database, open_engine, that_exists
from godwit.control_plane.version import VERSION
from godwit.domain.errors import Conflict, InvalidRequest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DatabaseError

HOME_FILES = ("config.yaml", "token", "secret.key", "credentials.key", "port", "agents_port")
"""What a home holds besides its database, and cannot be made again. Its keys open everything."""

WORKDIR = re.compile(r"[0-9a-f]{64}\.tar\.gz")
"""What an uploaded workdir is called: its digest, which the specification of a job names."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def backup(home: Path, target: Path, now: float) -> Manifest:
    """Write a backup of `home` to `target`, as of one instant. Blocks; may run while the control plane serves.

    Raises `Conflict` when `target` exists, `InvalidRequest` when there is nothing to back up.
    """
    if target.exists():
        raise Conflict(f"{target} exists; choose another name, or remove it")
    if not (home / "secret.key").is_file():
        raise InvalidRequest(f"{home} is no home of a control plane that was ever served; nothing was written")
    return write(home, settings_module.read(home).database_url, target, now)


def write(home: Path, url: str, target: Path, now: float) -> Manifest:
    """The same of the database at `url` and what there is of a home, which may have no keys."""
    db = Database(open_engine(that_exists(url)))
    try:
        with db.read() as conn, archive.writing(target) as (writer, close):
            counts = _tables(conn, writer)
            for name in HOME_FILES:
                if (home / name).is_file():
                    writer.add(f"home/{name}", io.BytesIO((home / name).read_bytes()))
            for path in _workdirs(conn, home / "archives"):
                with path.open("rb") as file:
                    writer.add(f"archives/{path.name}", file)
            close(_manifest(conn, counts, now))
    except DatabaseError as exc:
        raise InvalidRequest(f"the database of {home} cannot be read: {exc.orig}; nothing was written") from exc
    finally:
        db.close()
    return archive.verified(target)


def revision(conn: Connection) -> str | None:
    """What Alembic calls the state of the tables; None for a database that was never migrated."""
    if not conn.dialect.has_table(conn, rows.VERSIONS):
        return None
    return conn.execute(text(f"SELECT version_num FROM {rows.VERSIONS}")).scalar()  # noqa: S608 - a constant


def _tables(conn: Connection, writer: Writer) -> dict[str, int]:
    found = rows.tables(rows.reflected(conn))
    return {of.name: writer.spooled(f"tables/{of.name}", partial(rows.write, conn, of)) for of in found}


def _workdirs(conn: Connection, folder: Path) -> Iterator[Path]:
    """Uploads that jobs which have not ended, or services, start from."""
    live = select(schema.jobs.c.spec).where(schema.jobs.c.state.not_in(queries.FINAL_JOBS))
    specs = [*conn.execute(live).scalars(), *conn.execute(select(services.services.c.versions)).scalars()]
    wanted = {digest for spec in specs for digest in _DIGEST.findall(spec)}
    for path in sorted(folder.glob("*.tar.gz")):
        if path.name.removesuffix(".tar.gz") in wanted:
            yield path


def _manifest(conn: Connection, counts: dict[str, int], now: float) -> Manifest:
    found, identity = revision(conn), queries.meta(conn, "identity")
    if found is None or identity is None:
        raise InvalidRequest("the database was never served; nothing was written")
    last = conn.execute(select(func.max(schema.events.c.seq))).scalar() or 0
    return Manifest(archive.FORMAT, VERSION, identity, found, now, last, counts)
