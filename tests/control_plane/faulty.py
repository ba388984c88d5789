"""Clouds and databases that forget, lag and lose answers, and points at which a process dies."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from godwit.control_plane.store.database import Database, Transaction
from godwit.domain.errors import UnknownOutcome
from godwit.domain.offers import Instance
from godwit.providers.layers.wrapping import Answer, Layer
from godwit.providers.protocol import Capabilities, LaunchRequest, Provider


class Killed(BaseException):
    """The process died here. No `except` of the code under test may catch this."""


class Forgetful(Layer):
    """A cloud without client tokens, whose lists lag and whose answers get lost; it counts what it sells.

    `lag` lists are answered as if the newest machine did not exist yet. `lose_answers` launches are never answered.
    """

    def __init__(self, under: Provider) -> None:
        super().__init__(under)
        self.lose_answers = 0
        self.lag = 0
        self.sold = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    def launch(self, request: LaunchRequest) -> Instance:
        self.sold += 1
        self.inner.launch(request)
        if self.lose_answers:
            self.lose_answers -= 1
            raise UnknownOutcome("no answer came")
        return next(i for i in self.inner.instances() if i.token == request.token)

    def instances(self) -> Sequence[Instance]:
        listed = list(self.inner.instances())
        if self.lag:
            self.lag -= 1
            return listed[:-1]
        return listed


class Fatal:
    """Kills the process at the n-th point at which it touches the world: a call to a cloud, or a write."""

    def __init__(self, at: int) -> None:
        self.left = at

    @contextmanager
    def point(self) -> Iterator[None]:
        """Dies before the effect, or right after it."""
        self._tick()
        yield
        self._tick()

    def _tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class MortalProvider(Layer):
    """A provider whose caller dies around its calls."""

    def __init__(self, under: Provider, fatal: Fatal) -> None:
        super().__init__(under)
        self._fatal = fatal

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        del method
        with self._fatal.point():
            return ask()


class MortalDatabase(Database):
    """A database whose writer dies before it writes, or right after the commit."""

    def __init__(self, under: Database, fatal: Fatal) -> None:
        super().__init__(under.engine)
        self._fatal = fatal

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        with self._fatal.point(), super().write() as tx:
            yield tx
