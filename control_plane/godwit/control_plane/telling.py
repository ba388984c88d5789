"""Tells the other control planes on a database what this one's agents say of their GPUs, and learns what theirs say.

A node tells one control plane, and people ask any. Every `EVERY_S` each writes one row and reads those of the others
that changed: three statements at the most, however many nodes there are, and none waits for those who change something.
"""

import threading

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.store import told_loads
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger()

EVERY_S = 5.0
"""Agents tell each ten seconds: what one control plane knows all show ten seconds later at the latest."""


class Telling:
    """A thread; `step` is safe to repeat. `replica` tells this control plane from the others."""

    def __init__(self, context: Context, replica: str) -> None:
        self._context, self._replica = context, replica
        self._seen: dict[str, int] = {}
        self._told_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Tell no more, and take back what was told: agents go to others now."""
        self._stopping.set()
        self._thread.join(EVERY_S)
        try:
            with self._context.db.engine.begin() as conn:
                told_loads.forget(conn, self._replica)
        except SQLAlchemyError as exc:
            log.warning("what was told of GPUs stays for an hour", why=type(exc).__name__)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self.step()
            except SQLAlchemyError as exc:
                log.warning("how hard GPUs of other control planes work is not known", why=type(exc).__name__)

    def step(self) -> None:
        """Write what is new here, and read what is new elsewhere."""
        loads, now = self._context.loads, self._context.now()
        with self._context.db.engine.begin() as conn:
            if loads.heard_at > self._told_at:
                self._told_at = loads.heard_at
                told_loads.put(conn, self._replica, loads.here(now), now)
            numbers = told_loads.numbers(conn)
            fresh = {one for one, number in numbers.items() if one != self._replica and self._seen.get(one) != number}
            told = told_loads.get(conn, fresh) if fresh else {}
        for replica, of in told.items():
            loads.learn(replica, of, now)
        self._seen = {one: numbers[one] for one in numbers if one not in fresh or one in told}
