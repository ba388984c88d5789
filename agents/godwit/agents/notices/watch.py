"""Listens to every source of notices that this machine may have, and tells each notice once."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from godwit.agents.effects import Noticed
from godwit.agents.notices import ec2
from godwit.agents.notices.ec2 import Ec2
from godwit.agents.notices.file import NoticeFile
from godwit.agents.notices.sigterm import Sigterm
from godwit.agents.notices.source import Source
from godwit.agents.settings import Settings

log = structlog.get_logger()

NEARER_S = 5.0
"""A notice is told again only when the time that it leaves has become so much less than it said before."""


def sources(settings: Settings, env: Mapping[str, str], sigterm: Sigterm) -> list[Source]:
    """What may give notice on this machine."""
    found: list[Source] = [NoticeFile(settings.node_dir), sigterm]
    if ec2.is_here(env):
        found.append(Ec2(env.get(ec2.URL_NAME) or ec2.URL))
    return found


class NoticeWatch:
    """Looks at each source as often as it is worth, on a thread of its own; `tell` hears each notice."""

    def __init__(
        self,
        found: Sequence[Source],
        tell: Callable[[Noticed], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources, self._tell, self._monotonic_s = found, tell, monotonic_s
        self._next_at = [0.0] * len(found)
        self._ends_at: float | None = None
        self._warned: set[str] = set()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="notices", daemon=True).start()

    def stop(self) -> None:
        """End, soon."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self.step()):
            pass

    def step(self) -> float:
        """Look at what is due; returns the seconds until something is again."""
        for place, source in enumerate(self._sources):
            now = self._monotonic_s()
            if now >= self._next_at[place]:
                self._next_at[place] = now + source.every_s
                said = source.look()
                if said is not None and self._is_news(said):
                    log.warning("notice", source=said.source, within_s=said.within_s, reason=said.reason)
                    self._tell(said)
        return max(0.01, min(self._next_at) - self._monotonic_s())

    def _is_news(self, said: Noticed) -> bool:
        if said.within_s is None:
            is_first = said.source not in self._warned
            self._warned.add(said.source)
            return is_first and self._ends_at is None
        ends_at = self._monotonic_s() + said.within_s
        if self._ends_at is not None and ends_at > self._ends_at - NEARER_S:
            return False
        self._ends_at = ends_at
        return True
