"""Clears this control plane's disk of what nobody needs any more: output of old jobs, and workdirs that none uses.

What belongs to a job that is not over stays, however old. Control planes that share a folder may do it at once.
"""

import threading
from dataclasses import dataclass

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.keeping import DAY_S, Keeping
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.services.logs import LogStore
from godwit.control_plane.store import kept
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

EVERY_S, FIRST_AFTER_S = 3_600.0, 60.0


@dataclass(frozen=True)
class Cleared:
    """What was removed, and how much room it took."""

    jobs: int = 0
    archives: int = 0
    size_bytes: int = 0


class Clearing:
    """A thread; `step` is safe to repeat."""

    def __init__(self, context: Context, shelf: Shelf, logs: LogStore, keeping: Keeping) -> None:
        self._context, self._shelf, self._logs, self._keeping = context, shelf, logs, keeping
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clearing", daemon=True)

    def start(self) -> None:
        """Begin, a minute from now."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    def _run(self) -> None:
        pause_s = FIRST_AFTER_S
        while not self._stopping.wait(pause_s):
            pause_s = EVERY_S
            try:
                self.step()
            except (SQLAlchemyError, OSError) as exc:
                log.warning("old output and workdirs stay for another hour", why=f"{type(exc).__name__}: {exc}")

    def step(self) -> Cleared:
        """Remove what was kept for long enough."""
        now, keeping = self._context.now(), self._keeping
        with self._context.db.read() as conn:
            needed = kept.kept(conn)
        jobs = self._logs.forget(now - keeping.logs_days * DAY_S, needed.job_ids) if keeping.logs_days else {}
        archives_before = now - keeping.archives_days * DAY_S
        archives = self._shelf.forget(archives_before, needed.digests) if keeping.archives_days else {}
        cleared = Cleared(len(jobs), len(archives), sum(jobs.values()) + sum(archives.values()))
        if jobs or archives:
            log.info(
                "removed what was kept for long enough",
                jobs=cleared.jobs, archives=cleared.archives, mib=cleared.size_bytes >> 20,
            )  # fmt: skip
        return cleared
