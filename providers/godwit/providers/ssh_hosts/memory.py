"""What was last known of each host, kept in the home: a host that is away still has its machines."""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from godwit.providers import files
from godwit.providers.ssh_hosts.programs import Facts


@dataclass(frozen=True)
class _Known:
    host: str
    facts: Facts


class Memory:
    """Machines by host. Safe to call from several threads, from one process at a time.

    A launch is written down before it is sent, so that one that was cut off is not forgotten while its host is away.
    `looks` are numbered: a look that began before a launch was sent does not know of it, and removes nothing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known = _read(file)
        self._looks = 0
        self._sent: dict[str, int] = {}

    def on(self, host: str) -> list[Facts]:
        """What was last known there."""
        with self._lock:
            return [known.facts for known in self._known if known.host == host]

    def of(self, token: str) -> Facts | None:
        """What was launched with this token; its id tells where."""
        with self._lock:
            return next((known.facts for known in self._known if known.facts.token == token), None)

    def look(self) -> int:
        """The number of a look that begins now."""
        with self._lock:
            self._looks += 1
            return self._looks

    def seen(self, host: str, machines: Sequence[Facts], look: int) -> None:
        """What a look found there."""
        with self._lock:
            others = [known for known in self._known if known.host != host]
            ids = {facts.id for facts in machines}
            pending = [
                known
                for known in self._known
                if known.host == host and known.facts.id not in ids and self._sent.get(known.facts.id, 0) >= look
            ]
            self._write([*others, *pending, *(_Known(host, facts) for facts in machines)])

    def sending(self, host: str, facts: Facts) -> None:
        """A launch is about to be sent."""
        with self._lock:
            self._sent[facts.id] = self._looks + 1
            self._write([*(known for known in self._known if known.facts.id != facts.id), _Known(host, facts)])

    def refused(self, facts: Facts) -> None:
        """It certainly took no effect."""
        with self._lock:
            self._write([known for known in self._known if known.facts.id != facts.id])

    def _write(self, known: list[_Known]) -> None:
        if known == self._known:
            return
        self._sent = {key: look for key, look in self._sent.items() if key in {one.facts.id for one in known}}
        files.private_folder(self._file.parent)
        files.write_private(self._file, json.dumps([asdict(one) for one in known]))
        self._known = known


def _read(file: Path) -> list[_Known]:
    if not file.exists():
        return []
    return [_Known(row["host"], Facts(**row["facts"])) for row in json.loads(file.read_text())]
