"""The control plane's process may die before, within and after any transaction, and around any provider call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from godwit.control_plane.store.database import Database, Transaction
from godwit.providers.layers.wrapping import Answer, Layer
from godwit.providers.protocol import Provider


class Crash(Exception):
    """The control plane's process dies here."""


class CrashingDatabase(Database):
    """A database whose user may die before, within or after any write transaction."""

    def __init__(self, inner: Database, announce: Callable[[str], None], maybe_crash: Callable[[str], None]) -> None:
        super().__init__(inner.engine, announce)
        self._maybe_crash = maybe_crash

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """The transaction, with three places to die at."""
        self._maybe_crash("before a transaction")
        with super().write() as tx:
            yield tx
            self._maybe_crash("before a commit")
        self._maybe_crash("after a commit")


class CrashingProvider(Layer):
    """A provider whose caller may die right before or right after any call."""

    def __init__(self, inner: Provider, maybe_crash: Callable[[str], None]) -> None:
        super().__init__(inner)
        self._maybe_crash = maybe_crash

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        self._maybe_crash(f"before {method}")
        answer = ask()
        self._maybe_crash(f"after {method}")
        return answer
