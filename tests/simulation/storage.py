"""The disk under the simulated control plane: it fills up, and old backups of it are put back."""

import sqlite3

from godwit.control_plane.backup import settling
from godwit.control_plane.store.database import Database, Transaction
from godwit.domain.ids import IdSource

from tests.databases import driver_connection

ORPHANS_END_AFTER_S = 40.0
"""For how long machines bought after a backup have to come back here; longer than it takes one to boot and join."""

_MOST_PAGES = 0xFFFFFFFE
"""SQLite's own bound (https://www.sqlite.org/limits.html, section 12)."""


def fill(database: Database) -> None:
    """From now on SQLite has no page more than it has: what needs one fails with "database or disk is full"."""
    with database.engine.connect() as conn:
        driver = driver_connection(conn)
        (pages,) = driver.execute("PRAGMA page_count").fetchone()
        driver.execute(f"PRAGMA max_page_count={pages}")


def free(database: Database) -> None:
    """There is room again."""
    with database.engine.connect() as conn:
        driver_connection(conn).execute(f"PRAGMA max_page_count={_MOST_PAGES}")


class Backup:
    """What a database was at one instant."""

    def __init__(self, database: Database, at: float) -> None:
        self.at = at
        self._kept = sqlite3.connect(":memory:")
        with database.engine.connect() as conn:
            driver_connection(conn).backup(self._kept)

    def restore(self, database: Database, ids: IdSource, now: float) -> None:
        """Put it back, as the restore of a home does; nobody serves meanwhile."""
        with database.engine.connect() as conn:
            self._kept.backup(driver_connection(conn))
        with database.engine.begin() as conn:
            settling.settle(
                Transaction(conn), ids, self.at, now, end_orphans=True, end_after_s=ORPHANS_END_AFTER_S
            )  # fmt: skip

    def close(self) -> None:
        """Forget it."""
        self._kept.close()
