"""Keeps to providers' rate limits together: all control planes and workers of one database take turns in one row.

Each turn is a statement of its own, outside of the transactions of changes: nobody waits behind it. While the database
is away each process keeps to the limit by itself, as it does anyway where there is no other.
"""

import structlog
from godwit.control_plane.store import paces
from godwit.control_plane.store.database import Database
from godwit.domain.clock import Clock
from godwit.domain.errors import RateLimited
from godwit.providers.layers.limiting import PATIENCE_S, PAUSE_MAX_S, Pace, Turns
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

MOST_S = PAUSE_MAX_S + 2 * PATIENCE_S
"""How far ahead the row of a pace may lie: a pause, and the turns that those who were patient took behind it."""


class Paces:
    """The paces of this process: its own, until it is told of a database on which others may be."""

    def __init__(self) -> None:
        self._db: Database | None = None

    def share(self, db: Database) -> None:
        """Take turns with all others on this database, if there can be any."""
        self._db = db if db.engine.dialect.name == "postgresql" else None

    def of(self, name: str, per_s: float | None, clock: Clock) -> Turns:
        """The pace of this name; the same one in all processes."""
        return _Shared(self, name, per_s, clock)

    @property
    def database(self) -> Database | None:
        """Where turns are taken."""
        return self._db


class _Shared:
    """One pace."""

    def __init__(self, of: Paces, name: str, per_s: float | None, clock: Clock) -> None:
        self._of, self._name, self._own = of, name, Pace(per_s, clock)
        self._spacing_s = 0.0 if per_s is None else 1.0 / per_s

    def turn_in_s(self) -> float:
        """Seconds until the caller's turn. Raises `RateLimited` when that is too long; then no turn is taken."""
        own_s, db = self._own.turn_in_s(), self._of.database
        if db is None or not self._spacing_s:
            return own_s
        try:
            with db.engine.begin() as conn:
                wait_s = paces.take_turn(conn, self._name, self._spacing_s, PATIENCE_S, MOST_S)
                longer_s = paces.wait_of(conn, self._name, MOST_S) if wait_s is None else 0.0
        except SQLAlchemyError as exc:
            log.warning("the pace of a provider is kept alone", pace=self._name, why=type(exc).__name__)
            return own_s
        if wait_s is None:
            raise RateLimited("too many calls of all processes wait for this provider's rate limit", longer_s)
        return max(own_s, wait_s)

    def pause(self, pause_s: float) -> None:
        """Give no turn for so long, to nobody."""
        self._own.pause(pause_s)
        db = self._of.database
        if db is None or not self._spacing_s:
            return
        try:
            with db.engine.begin() as conn:
                paces.pause(conn, self._name, min(pause_s, PAUSE_MAX_S), MOST_S)
        except SQLAlchemyError as exc:
            log.warning("others do not learn of a provider's pause", pace=self._name, why=type(exc).__name__)
