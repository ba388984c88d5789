"""Wake-ups: a hint says that something may have changed, and carries no data; whoever wakes reads the database.

A hint that is lost costs time, never truth: every waiter also wakes by itself.
"""

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress

PLAN = "plan"
INTENTS = "intents"
EVENTS = "events"
PROVIDERS = "providers"
ROUTES = "routes"
ACCESS = "access"


def commands_of(node_id: str) -> str:
    """The topic on which a node's commands are announced."""
    return f"commands/{node_id}"


def log_of(job_id: str) -> str:
    """The topic on which a job's output is announced."""
    return f"log/{job_id}"


class Hints:
    """Topics with a counter each. Threads and coroutines wait for a counter to move past the value they saw."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        # A counter is made by announcing, never by asking: whoever asks may make names up.
        self._counts: Counter[str] = Counter()
        self._waiters: dict[str, set[tuple[asyncio.AbstractEventLoop, Callable[[], None]]]] = defaultdict(set)

    def count(self, topic: str) -> int:
        """How often `topic` was announced; read it before reading the database, then wait for it to move."""
        with self._condition:
            return self._counts[topic]

    def announce(self, topic: str) -> None:
        """Something about `topic` may have changed. Callable from any thread."""
        with self._condition:
            self._counts[topic] += 1
            waiters = list(self._waiters.get(topic, ()))
            self._condition.notify_all()
        for loop, wake in waiters:
            with suppress(RuntimeError):  # its loop has ended, and who waited there with it
                loop.call_soon_threadsafe(wake)

    def wait(self, topic: str, seen: int, timeout_s: float) -> bool:
        """Block this thread until `topic` moves past `seen`, or for `timeout_s`; True when it moved."""
        with self._condition:
            return self._condition.wait_for(lambda: self._counts[topic] > seen, timeout_s)

    async def wait_async(self, topic: str, seen: int, timeout_s: float) -> bool:
        """The same for a coroutine."""
        event = asyncio.Event()
        leave = self.listen(topic, seen, event.set)
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            leave()
        return True

    def listen(self, topic: str, seen: int, wake: Callable[[], None]) -> Callable[[], None]:
        """Have this loop call `wake` whenever `topic` moves past `seen`, or has; what is returned ends that."""
        entry = (asyncio.get_running_loop(), wake)
        with self._condition:
            if self._counts[topic] > seen:
                entry[0].call_soon(wake)
            self._waiters[topic].add(entry)

        def leave() -> None:
            with self._condition:
                waiters = self._waiters.get(topic)
                if waiters is not None:
                    waiters.discard(entry)
                    if not waiters:
                        del self._waiters[topic]

        return leave
