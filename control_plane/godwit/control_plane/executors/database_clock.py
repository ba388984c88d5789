"""One clock for all workers, whatever those of their machines say: the database's."""

import threading
import time

from godwit.control_plane.store.database import Database
from sqlalchemy import text

_NOW = text("SELECT extract(epoch FROM clock_timestamp())")


class DatabaseClock:
    """Says what time it is in PostgreSQL, as of the last `set`, counted on by a clock that nobody sets.

    Claims of workers end at an instant that others compare with theirs.
    """

    def __init__(self, db: Database) -> None:
        self._db, self._lock = db, threading.Lock()
        self._ahead_s = 0.0
        self.set()

    def set(self) -> None:
        """Ask the database anew; to be called now and then. Raises what the database does."""
        with self._db.read() as conn:
            conn.execute(text("SELECT 1"))  # what it takes to connect is no part of the answer
            began = time.monotonic()
            there = float(conn.execute(_NOW).scalar_one())
            ended = time.monotonic()
        with self._lock:
            self._ahead_s = there - (began + ended) / 2

    def now(self) -> float:
        """The current instant in seconds since the epoch, UTC."""
        with self._lock:
            return time.monotonic() + self._ahead_s
