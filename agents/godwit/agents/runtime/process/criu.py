"""CRIU's command lines, and what its logs say. Pure: others run them."""

import re
from collections.abc import Sequence
from pathlib import Path

GHOST_LIMIT = "256M"
"""Deleted files that are still open go into the images up to this size; CRIU's default is 1 MB, and a pool of worker
processes shares tensors in such files."""

_COMMON = (
    "--no-default-config",  # a machine's own configuration must not change what is saved here and restored there
    "--tcp-close",  # connections do not survive a move: the program finds them closed
    "--file-locks",  # the room is the program's own, so no lock is anybody else's
    "--ext-unix-sk",
    "--manage-cgroups=ignore",  # the new node's agent decides where its processes count
    "--cpu-cap=ins",  # a CPU without an instruction that the program may use is refused at the restore
    f"--ghost-limit={GHOST_LIMIT}",
    "-v2",
)

_ERROR = re.compile(r"^\s*(?:\([\d.]+\) *)?(?:\d+: *)?Error *\(([^)]*)\): *(.*)$")

_HARMLESS = "RLIMIT_NOFILE"
"""It would have more files open than it is allowed, says so, and does with fewer."""


def check(criu: Sequence[str]) -> list[str]:
    """Whether this kernel and this user can save processes at all."""
    return [*criu, "check"]


def dump(criu: Sequence[str], root: int, images: Path, log: Path, script: Path, *, stay: bool) -> list[str]:
    """Save the tree below pid `root` into `images`; it runs on if `stay`, else it is gone once saved.

    `script` is run by CRIU at each of its stages, with the program standing still in between.
    """
    end = ["--leave-running"] if stay else []
    script_argv = ["--action-script", str(script)]
    return [*criu, "dump", *_COMMON, "-t", str(root), "-D", str(images), "-o", str(log), *script_argv, *end]


def restore(criu: Sequence[str], images: Path, log: Path) -> list[str]:
    """Bring back what lies in `images`, as a child of whoever calls this."""
    there = ["--restore-detached", "--restore-sibling"]
    return [*criu, "restore", *_COMMON, "-D", str(images), "-o", str(log), *there]


def said(log: str, otherwise: str) -> str:
    """The first error of a log in one line: what follows it follows from it."""
    lines = (line for line in log.splitlines() if _HARMLESS not in line)
    first = next((match for line in lines if (match := _ERROR.match(line))), None)
    return otherwise if first is None else f"{first[2]} ({first[1]})"[:300]
