"""Writes closed minutes of how hard GPUs worked, and makes hours of them; one statement for each minute."""

from godwit.control_plane.context import Context
from godwit.control_plane.loads import MINUTE_S
from godwit.control_plane.store import loads

SETTLE_S = 2 * MINUTE_S
"""An hour is made this long after its end: its last minute is written by then."""


class Rolling:
    """Callable from one thread; `step` is safe to repeat."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def write(self) -> int:
        """Write every minute that is over, as agents told this process; returns the number of rows.

        Each control plane does so for its own agents: one that asked two of them within a minute counts once.
        """
        context, count = self._context, 0
        for minute, told in context.loads.closed(context.now()):
            with context.db.write() as tx:
                count += loads.add_minute(tx, minute, told)
            context.loads.written(minute)
        return count

    def step(self) -> int:
        """Write what is to be written, and make hours; for the control plane that leads. Returns the number of rows."""
        context, count = self._context, self.write()
        now = context.now()
        if self._make_hours(now - SETTLE_S) or count:
            # A minute for a minute: to drop many at once would keep other writers waiting.
            with context.db.write() as tx:
                loads.forget(tx, now)
        return count

    def _make_hours(self, edge: float) -> bool:
        made = False
        while True:
            with self._context.db.write() as tx:
                if not loads.sum_next(tx, edge):
                    return made
            made = True
