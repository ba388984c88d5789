"""What the child process says of the GPUs that it tried, one line of JSON for each measurement."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Check = Literal["correctness", "matmul", "bandwidth", "host-copy", "all-reduce"]

CHECKS: tuple[Check, ...] = ("correctness", "matmul", "bandwidth", "host-copy", "all-reduce")
"""In the order in which they are made: what matters most comes first, for the budget may end them."""

UNITS = {"matmul": "TFLOPS", "bandwidth": "GB/s", "host-copy": "GB/s", "all-reduce": "GB/s"}

LINE_CHARS_MAX = 4_096
LINES_MAX = 4_096
"""Of what a child may say: eight GPUs, tried for ten minutes, say some hundreds of short lines."""


@dataclass(frozen=True)
class Begun:
    """A measurement begins; where nothing follows it, the GPU (None: all of them together) did not answer."""

    check: str
    gpu: int | None


@dataclass(frozen=True)
class Seen:
    """One measurement of one GPU by its index (None: of all together).

    `figure` is in the check's unit, None for correctness, which has `digest` instead: equal results have equal ones.
    `kind` is the number format. `error` is what was raised in place of a result.
    """

    check: str
    gpu: int | None
    kind: str = ""
    figure: float | None = None
    digest: str = ""
    error: str = ""


@dataclass(frozen=True)
class Said:
    """All that a child said. `absent`: why it could not try anything. `done`: it came to its end by itself."""

    seen: tuple[Seen, ...] = ()
    unanswered: Begun | None = None
    absent: str = ""
    done: bool = False


def line(said: Begun | Seen) -> str:
    """One line for standard output."""
    return json.dumps({"begun": asdict(said)} if isinstance(said, Begun) else {"seen": asdict(said)})


def absent(why: str) -> str:
    """The line that says that nothing can be tried here."""
    return json.dumps({"absent": why})


DONE = json.dumps({"done": True})


def read(text: str) -> Said:
    """All complete lines of a child's output; what is no line of ours is passed over (libraries print as they like)."""
    seen: list[Seen] = []
    begun: Begun | None = None
    why, done = "", False
    for raw in text.splitlines()[:LINES_MAX]:
        record = _record(raw)
        if "begun" in record:
            begun = Begun(**record["begun"])
        elif "seen" in record:
            one = Seen(**record["seen"])
            begun = None
            if one.figure is None or math.isfinite(one.figure):
                seen.append(one)
        why, done = record.get("absent", why), done or "done" in record
    return Said(tuple(seen), begun, why, done)


def _record(raw: str) -> dict[str, Any]:
    if len(raw) > LINE_CHARS_MAX or not raw.startswith("{"):
        return {}
    try:
        record = json.loads(raw)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
