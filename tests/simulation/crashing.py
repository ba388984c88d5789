"""The control plane's process may die before, within and after any transaction, and around any provider call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from godwit.control_plane.store.database import Database, Transaction
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer
from godwit.providers.protocol import Capabilities, LaunchRequest
from godwit.providers.simulated.inprocess import InProcessProvider


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


class CrashingProvider:
    """A provider whose caller may die right before or right after any call."""

    def __init__(self, inner: InProcessProvider, maybe_crash: Callable[[str], None]) -> None:
        self.inner = inner
        self._maybe_crash = maybe_crash

    @property
    def name(self) -> ProviderName:
        """The cloud's name."""
        return self.inner.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self.inner.capabilities

    def offers(self) -> Sequence[Offer]:
        """What it sells."""
        return self.inner.offers()

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine."""
        self._maybe_crash("before a launch")
        instance = self.inner.launch(request)
        self._maybe_crash("after a launch")
        return instance

    def instances(self) -> Sequence[Instance]:
        """What it lists."""
        return self.inner.instances()

    def terminate(self, instance_id: InstanceId) -> None:
        """End one machine."""
        self._maybe_crash("before a terminate")
        self.inner.terminate(instance_id)
        self._maybe_crash("after a terminate")
