"""What the checks saw last, kept for metrics: the newest poll of the GPUs, and the last Xid of each."""

import re
import threading
import time
from dataclasses import dataclass, field

from godwit.agents.checks.gpu.whole import Poll

_XID = re.compile(r"xid:(\d+)")


@dataclass
class Seen:
    """Written by the threads that watch, read by whoever asks. `polled_at` is in seconds since the epoch."""

    poll: Poll = field(default_factory=Poll)
    polled_at: float | None = None
    xids: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def polled(self, poll: Poll) -> None:
        """The driver was asked; only an answer replaces what it said before."""
        with self._lock:
            if poll.answered:
                self.poll, self.polled_at = poll, time.time()

    def told(self, code: str, gpu: str | None) -> None:
        """The kernel told something of a GPU (its UUID)."""
        found = _XID.fullmatch(code)
        if found is not None and gpu is not None:
            with self._lock:
                self.xids[gpu] = int(found[1])

    def now(self) -> tuple[Poll, float | None, dict[str, int]]:
        """All of it at one instant."""
        with self._lock:
            return self.poll, self.polled_at, dict(self.xids)
