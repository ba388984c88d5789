"""When the database was away: gone, hung, or in somebody's hands for too long."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

_AWAY = ("08", "53", "57P", "57014", "25P03")
"""Codes of PostgreSQL (its documentation, appendix A): no connection, no resources, an operator who ends it, and the
ends of what took too long (`store/answering.Patience`): a statement, and a pause in a transaction."""

_PRIMARY = 0xFF
"""The part of an error code of SQLite that says what it is (https://www.sqlite.org/rescode.html, section 2)."""


class Outages:
    """When a database was last away; one for all copies of a `Database`."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.last_at = 0.0

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Notice whether it is away in the block; raises what the block does."""
        try:
            yield
        except SQLAlchemyError as exc:
            if is_away(exc):
                self.last_at = self._now()
            raise


def is_away(error: SQLAlchemyError) -> bool:
    """Whether a statement failed because the database is gone, hangs or ends us, so that it may be well in a moment.

    A SQLite file is away while another process writes for longer than is waited for; what else is wrong there is wrong
    for good.
    """
    if isinstance(error, NoConnectionLeft):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        return getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_BUSY
    if not type(error.orig).__module__.startswith("psycopg"):
        return False
    if not isinstance(error, OperationalError | InterfaceError):
        return error.connection_invalidated
    # Without a code there was nobody who could give one.
    return (getattr(error.orig, "sqlstate", None) or _AWAY[0]).startswith(_AWAY)
