"""Those who wait for their turn: bounded, interactive before batch, and nobody for longer than it is worth.

While the queue empties now and then, a request may wait as long as the service says: bursts are what queues are for.
Once it has stood for that long without emptying, waiting only makes everybody late, so the wait that is allowed falls
to half a latency: CoDel (Nichols & Jacobson, "Controlling queue delay", ACM Queue 2012), in the form that servers have
of it (Maurer, "Fail at scale", ACM Queue 2015).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

STANDING_S = 0.5
"""A queue that has not been empty for so long, or for two latencies, is a standing one."""

STANDING_WAIT = 0.5
"""The part of a latency for which one may wait in a standing queue: replicas have as much to do as they can anyway, so
that it need only bridge the gap until the next answer."""

CALM_S = 1.0
"""So long after somebody was late the queue counts as standing still, also where a moment without anybody in it came
between: under a load that is far too high there are many such moments."""

WAIT_MIN_S = 0.1

INTERACTIVE, BATCH = 0, 1


@dataclass(frozen=True, eq=False)
class Waiting:
    """One that waits. `rank`: `INTERACTIVE` goes before `BATCH`."""

    arrived_at: float
    rank: int = INTERACTIVE
    affinity: str = ""
    exclude: frozenset[str] = frozenset()


@dataclass
class Queue:
    """The queue of one service. `wait_s` is how long a request may wait at most, `most` how many may."""

    wait_s: float
    most: int
    _lines: tuple[deque[Waiting], deque[Waiting]] = field(default_factory=lambda: (deque(), deque()))
    _standing_since: float | None = None
    _late_at: float = float("-inf")

    def __len__(self) -> int:
        return len(self._lines[0]) + len(self._lines[1])

    def ahead(self, rank: int) -> int:
        """How many go before a new one of this rank."""
        return len(self._lines[0]) + (len(self._lines[1]) if rank == BATCH else 0)

    def push(self, waiting: Waiting, now: float) -> None:
        """Let it wait; the caller has asked `full`."""
        self._note_standing(now)
        self._lines[waiting.rank].append(waiting)

    def push_first(self, waiting: Waiting, now: float) -> None:
        """Let one wait that has had its turn before, ahead of those of its rank."""
        self._note_standing(now)
        self._lines[waiting.rank].appendleft(waiting)

    @property
    def full(self) -> bool:
        """Whether nobody more may wait."""
        return len(self) >= self.most

    def displaced(self) -> Waiting | None:
        """The newest of those that wait at the lower rank, taken out; None when there is none."""
        if not self._lines[BATCH]:
            return None
        taken = self._lines[BATCH].pop()
        self._note_empty()
        return taken

    def newest(self) -> Waiting:
        """Take out who came last, of those that go first."""
        taken = self._lines[INTERACTIVE].pop()
        self._note_empty()
        return taken

    def not_needed(self, now: float) -> None:
        """A request came and did not have to wait: there is no standing queue, if nobody was late for a while."""
        if now - self._late_at > CALM_S:
            self._standing_since = None

    def head(self) -> Waiting | None:
        """Who is next."""
        return next((line[0] for line in self._lines if line), None)

    def take(self) -> Waiting:
        """Take out who is next."""
        line = self._lines[0] or self._lines[1]
        return line.popleft()

    def remove(self, waiting: Waiting) -> bool:
        """Take out one whose client left; False when it does not wait any more."""
        try:
            self._lines[waiting.rank].remove(waiting)
        except ValueError:
            return False
        self._note_empty()
        return True

    def allowed_s(self, now: float, latency_s: float | None) -> float:
        """How long a request may wait at present; `latency_s` None: nothing was answered yet."""
        if latency_s is None or self._standing_since is None:
            return self.wait_s
        if now - self._standing_since <= max(STANDING_S, 2.0 * latency_s):
            return self.wait_s
        return min(self.wait_s, max(WAIT_MIN_S, latency_s * STANDING_WAIT))

    def late(self, now: float, latency_s: float | None) -> Iterator[Waiting]:
        """Take out those who have waited longer than is allowed."""
        allowed_s = self.allowed_s(now, latency_s)
        for line in self._lines:
            while line and now - line[0].arrived_at >= allowed_s:
                self._late_at = now
                yield line.popleft()  # a queue that is empty because of this still stands

    def next_late_at(self, now: float, latency_s: float | None) -> float | None:
        """When the next one has waited for too long, as things are; None when nobody waits."""
        firsts = [line[0].arrived_at for line in self._lines if line]
        return min(firsts) + self.allowed_s(now, latency_s) if firsts else None

    def _note_standing(self, now: float) -> None:
        if self._standing_since is None:
            self._standing_since = now

    def _note_empty(self) -> None:
        if not len(self):
            self._standing_since = None
