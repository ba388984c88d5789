"""Which user an attempt runs as. Pure: others look at the machine."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

WIDE = range(1_879_048_192, 1_879_048_192 + 2**28)
"""User ids above all that systemd hands out, and below those that break 32-bit programs (systemd.io/UIDS-GIDS, read
2026-11-21): 524288 to 1879048191 are containers', from 2147483648 on programs take them for negative."""

NARROW = range(60_578, 61_184)
"""Where only 65536 ids are mapped, as in a user namespace: ids that the same page names unused."""

NAME = "godwit-job"
"""What USER and LOGNAME say: the id has no entry in any file of users, and needs none."""


@dataclass(frozen=True)
class Mapped:
    """One line of /proc/self/uid_map: ids from `first` on, so many."""

    first: int
    count: int


def mapped(uid_map: str) -> list[Mapped]:
    """What /proc/self/uid_map says (user_namespaces(7))."""
    rows = (line.split() for line in uid_map.splitlines())
    return [Mapped(int(row[0]), int(row[2])) for row in rows if len(row) == 3]


def ids(maps: Collection[Mapped]) -> range:
    """The ids that attempts may have here; none where neither range is mapped."""
    for wanted in (WIDE, NARROW):
        if any(one.first <= wanted.start and wanted.stop <= one.first + one.count for one in maps):
            return wanted
    return range(0)


def choose(among: range, name: str, taken: Collection[int] = ()) -> int:
    """The id of an attempt: the same for the same name, and none that is taken. Raises `ValueError`: all are."""
    start = int(digest(name), 16) % len(among)
    for step in range(min(len(among), len(taken) + 1)):
        chosen = among[(start + step) % len(among)]
        if chosen not in taken:
            return chosen
    raise ValueError(f"all {len(among)} user ids for attempts are taken")


def digest(name: str) -> str:
    """Twelve hexadecimal digits that stand for a name."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]
