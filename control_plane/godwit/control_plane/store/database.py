"""The connection to the truth: SQLite (WAL) by default, PostgreSQL by URL; the same statements run on both."""

import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import structlog
from alembic import command
from alembic.config import Config
from godwit.control_plane import wakes
from godwit.control_plane.store import alongside, in_line
from godwit.control_plane.store.in_line import CONNECT_S, KEEPALIVE, POOL_S, WRITER_S, Patience
from godwit.control_plane.store.outages import Outages
from godwit.domain.errors import Conflict, InvalidRequest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.pool import StaticPool

log = structlog.get_logger()

Value = TypeVar("Value")

MIGRATIONS = Path(__file__).parent / "migrations"

_NOTIFY = text("SELECT pg_notify(:channel, :payload)")

_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's documentation, appendix A, error codes

LOCK_TIMEOUT_S, MIGRATE_TRIES, MIGRATE_PAUSE_S = 3, 10, 2.0
"""A change of a table waits so long for those who use it, since everybody else waits behind it (PostgreSQL's
documentation, "Explicit Locking": requests queue); then it lets them by, and tries again after the pause."""


IN_MAX = 10_000
"""Values of one `IN (...)`: SQLite takes 32,766 parameters a statement (https://www.sqlite.org/limits.html, section 9),
PostgreSQL's protocol 65,535."""


def batches(values: Iterable[Value]) -> Iterator[list[Value]]:
    """`values` in lists that one statement takes; none for no values."""
    rest = iter(values)
    while batch := list(islice(rest, IN_MAX)):
        yield batch


class Transaction:
    """A write transaction: its connection, and the hints to announce once it is committed."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.topics: set[str] = set()

    def hint(self, *topics: str) -> None:
        """Announce `topics` after the commit; nothing is announced when it rolls back."""
        self.topics.update(topics)


class Database:
    """Opens transactions. `announce` is called once for each hint of a committed transaction.

    With a `sender`, others on the same PostgreSQL hear of hints too, under that name. `now` is the clock by which it is
    told when the database was away.
    """

    def __init__(
        self,
        engine: Engine,
        announce: Callable[[str], None] = lambda _topic: None,
        sender: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self._announce = announce
        self._outages = Outages(now)
        self._sender = sender if engine.dialect.name == "postgresql" else None
        self._check: Callable[[Connection], None] = lambda _conn: None
        # SQLite has one writer. Queueing for it here is fair and quick; its own busy wait is neither.
        self._writer = threading.Lock() if engine.dialect.name == "sqlite" else None

    @property
    def away_at(self) -> float:
        """When it was last found to be away, in seconds since the epoch; 0 if it never was."""
        return self._outages.last_at

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent reading: all statements see the same instant."""
        with self._outages.noticed(), self.engine.connect() as conn:
            if self.engine.dialect.name == "postgresql":
                conn = conn.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - the same connection
            with conn.begin():
                yield conn

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that commits at the end of the block, or leaves nothing behind when it raises."""
        with self._outages.noticed(), self._turn(), self.engine.connect() as conn, conn.begin():
            if self.engine.dialect.name == "postgresql":
                in_line.begin_writing(conn)
            self._check(conn)
            transaction = Transaction(conn)
            yield transaction
            if (rider := alongside.due()) is not None:
                rider.write(conn)
            if self._sender is not None:
                # Sent by PostgreSQL with the commit, and not at all without.
                for payload in wakes.payloads(self._sender, sorted(transaction.topics)):
                    conn.execute(_NOTIFY, {"channel": wakes.CHANNEL, "payload": payload})
        if rider is not None:
            rider.committed()
        for topic in sorted(transaction.topics):
            self._announce(topic)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._writer is None:
            yield
            return
        if not self._writer.acquire(timeout=WRITER_S):
            raise NoConnectionLeft(f"others have been writing to the database for {WRITER_S:g} s")
        try:
            yield
        finally:
            self._writer.release()

    def fenced(self, check: Callable[[Connection], None]) -> "Database":
        """The same database, for one whose transactions begin with `check`, which raises to keep them from writing."""
        fenced = copy.copy(self)
        fenced._check = check
        return fenced

    def migrate(self, pause: Callable[[float], None] = time.sleep) -> None:
        """Bring the tables up to date; called before anything else, safe to repeat, one at a time.

        Raises `Conflict` when others keep reading a table that has to change: end what reads so long, and start again.
        """
        for number in range(1, MIGRATE_TRIES + 1):
            try:
                return self._migrate()
            except OperationalError as exc:
                if getattr(exc.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
                    raise
                log.warning("a table that has to change is in use", tried=number)
                pause(MIGRATE_PAUSE_S)
        raise Conflict(
            f"the database could not be brought up to date: others kept a table in use, {MIGRATE_TRIES} times for "
            f"{LOCK_TIMEOUT_S} s; look for long transactions (pg_stat_activity), end them, and start again"
        )

    def _migrate(self) -> None:
        with self.engine.begin() as conn:
            if self.engine.dialect.name == "postgresql":
                in_line.begin_migrating(conn)
                conn.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
            upgrade(conn)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def upgrade(conn: Connection, revision: str = "head") -> None:
    """Bring the tables up to a revision, in the transaction of `conn`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = conn
    command.upgrade(config, revision)


SERVING = "godwit control plane"
"""What PostgreSQL is told that a connection of a control plane which serves is for."""

WORKING = "godwit worker"
"""The same of a worker."""


def that_exists(url: str) -> str:
    """The same address. Raises `InvalidRequest` for a SQLite file that is not there, which opening it would make.

    For who asks a home beside its control plane: without the variables of the service, the home alone names another
    database than the one that is served.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not Path(parsed.database).is_file():
        raise InvalidRequest(
            f"there is no database at {parsed.database}; where the control plane is told of another one by "
            "GODWIT_DATABASE_URL, give the same to this command"
        )
    return url


def open_engine(url: str, name: str = "godwit", patience: Patience | None = None) -> Engine:
    """An engine for `url`: `sqlite:////path/godwit.db`, `postgresql+psycopg://...`; plain `postgresql://` works too.

    `name` is how its connections are shown in PostgreSQL's `pg_stat_activity`. A database of another encoding, such as
    the SQL_ASCII of one that was made without a locale, is spoken to in UTF-8: psycopg returns bytes otherwise.
    With `patience`, whoever waits for a PostgreSQL that hangs gives up in time; without, only to be let in has a limit,
    as a backup may take hours. What `url` says itself of limits stands.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        # A database in memory lives in one connection, so that everybody must share it.
        pool = {} if parsed.database else {"poolclass": StaticPool}
        engine = create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False}, **pool)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    limits = {"connect_timeout": CONNECT_S, **KEEPALIVE}
    told: dict[str, Any] = {name: value for name, value in limits.items() if name not in parsed.query}
    told |= {"application_name": name, "client_encoding": "utf8"}
    engine = create_engine(parsed, pool_pre_ping=True, pool_timeout=POOL_S, connect_args=told)
    if patience is not None:
        from godwit.control_plane.store import answering  # noqa: PLC0415 - psycopg is an extra of its own

        answering.use(engine, patience)
    event.listen(engine, "before_cursor_execute", _without_nul, retval=True)
    return engine


def _without_nul(
    _conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool
) -> tuple[str, Any]:
    # PostgreSQL's text cannot hold NUL, and refuses the whole statement for one in a program's or an agent's words.
    rows = parameters if executemany else [parameters]
    if any(isinstance(value, str) and "\0" in value for row in rows for value in row.values()):
        rows = [{k: v.replace("\0", "\ufffd") if isinstance(v, str) else v for k, v in row.items()} for row in rows]
        parameters = rows if executemany else rows[0]
    return statement, parameters


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling begins too late to read consistently; SQLAlchemy's docs, "pysqlite":
    # set isolation_level to None and emit BEGIN oneself.
    connection.isolation_level = None
    cursor = connection.cursor()
    # WAL with synchronous=NORMAL survives the death of the process (https://www.sqlite.org/pragma.html#pragma_synchronous);
    # after a power cut the last transactions may be missing, and reconciling finds what they had begun.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "cache_size=-16000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    conn.exec_driver_sql("BEGIN")
