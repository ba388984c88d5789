"""Follows the kernel log: what is new since last time, bursts as one, and where reading stopped."""

import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from godwit.agents.checks.kernel import cards
from godwit.agents.checks.kernel.forms import KernelSign
from godwit.agents.checks.kernel.parsing import Parser
from godwit.agents.checks.kernel.records import Lines, Record
from godwit.agents.runtime.guard import write_whole

BURST_GAP_S = 180.0
"""Equal lines closer together than this are one event (NVSentinel)."""

BURSTS_KEPT = 512
LOOK_BACK_S = 7_200.0
"""How old a line may be that is found at the very first start (NVSentinel looks back 2 h)."""

TROUBLES, TROUBLES_S = 3, 3_600.0
"""So many troubles of network cards within that time are one that does not go away (NVSentinel)."""

SAVE_EVERY_S = 60.0
"""How often the place is noted while nothing of interest is said."""

Tell = Callable[[KernelSign], None]


@dataclass
class _Burst:
    last_at: float
    count: int = 1


class Bursts:
    """Tells a new event from one that is said again: 10, 100, 1000 times over it is told again, with the count."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, _Burst] = OrderedDict()
        self._troubles: deque[float] = deque(maxlen=TROUBLES)
        self._lost_ports: set[str] = set()

    def take(self, sign: KernelSign, now: float) -> list[KernelSign]:
        """What is to be told of this line, heard at `now` (seconds on any clock that does not go back)."""
        if sign.rule is cards.CARD_LINK_BACK:
            return self._port_is_back(sign)
        if sign.rule is cards.CARD_LINK and len(self._lost_ports) < BURSTS_KEPT:
            self._lost_ports.add(_port(sign))
        burst = self._seen.pop(sign.burst, None)
        is_new = burst is None or now - burst.last_at > BURST_GAP_S
        burst = _Burst(now) if burst is None or is_new else _Burst(now, burst.count + 1)
        self._seen[sign.burst] = burst
        if len(self._seen) > BURSTS_KEPT:
            self._seen.popitem(last=False)
        if not is_new and not _is_power_of_ten(burst.count):
            return []
        told = replace(sign, evidence={**sign.evidence, "count": burst.count})
        return [told, *self._repeated(told, now)] if is_new else [told]

    def _port_is_back(self, sign: KernelSign) -> list[KernelSign]:
        if _port(sign) not in self._lost_ports:
            return []  # it was lost before this agent began, or never
        self._lost_ports.discard(_port(sign))
        self._seen.pop(sign.burst, None)  # if it is lost again, that is told again
        return [] if self._lost_ports else [sign]

    def _repeated(self, sign: KernelSign, now: float) -> list[KernelSign]:
        if sign.rule is not cards.CARD_TROUBLE:
            return []
        self._troubles.append(now)
        if len(self._troubles) < TROUBLES or now - self._troubles[0] > TROUBLES_S:
            return []
        self._troubles.clear()
        rule = cards.CARD_REPEATED
        return [replace(sign, rule=rule, code=rule.code, reason=f"{rule.when}; the last: {sign.reason}")]


class KernelWatch:
    """Reads one source of lines to its end, again and again; `tell` hears what they mean, at once."""

    def __init__(self, lines: Lines, place: Path, boot_id: str, tell: Tell, look_back_s: float = LOOK_BACK_S) -> None:
        self._lines = lines
        self._place = place
        self._boot_id = boot_id
        self._tell = tell
        self._look_back_s = look_back_s
        self._parser, self._bursts = Parser(), Bursts()
        self._position = self._remembered()
        self._is_first = self._position is None
        self._saved_at = time.monotonic()

    def step(self, timeout_s: float) -> int:
        """Read what is there, waiting up to `timeout_s` for it; returns how many records were new."""
        records = [record for record in self._lines.read(timeout_s) if self._is_new(record)]
        told = False
        for record in records:
            self._position = record.position
            for sign in self._parser.feed(record.text):
                for event in self._bursts.take(sign, time.monotonic() - record.age_s):
                    self._tell(event)
                    told = True
        if told or (records and time.monotonic() - self._saved_at > SAVE_EVERY_S):
            self.save()
        return len(records)

    def save(self) -> None:
        """Note how far it came."""
        write_whole(self._place, json.dumps({"boot_id": self._boot_id, "position": self._position}))
        self._saved_at = time.monotonic()

    def _is_new(self, record: Record) -> bool:
        if self._position is not None and not self._is_first:
            return record.position > self._position
        return record.age_s <= self._look_back_s

    def _remembered(self) -> int | None:
        """How far an earlier agent came in this boot; None at the first start of one."""
        try:
            said = json.loads(self._place.read_text())
            return int(said["position"]) if said["boot_id"] == self._boot_id else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # a note that cannot be read is none: a line may be told twice


def _port(sign: KernelSign) -> str:
    return f"{sign.evidence['where']} {sign.evidence['port']}"


def _is_power_of_ten(count: int) -> bool:
    return str(count).rstrip("0") == "1"
