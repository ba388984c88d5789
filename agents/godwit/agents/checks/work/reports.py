"""What a program says of its steps: through the in-job helper, or, where it does not know that, in its output."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.agents.confinement import owner

READ_BYTES_MAX = 256 * 1024
"""Of each file at each look; what lies further back is skipped, for only what happens now matters."""

RANK_MAX = 100_000


@dataclass(frozen=True)
class Report:
    """One step done. `at` is in seconds since the epoch by the program's clock, 0 when it does not say.

    `loss` and `grad_norm` may be no numbers. `compute_s` is what the step took without waiting for other ranks.
    """

    step: int
    at: float = 0.0
    total_steps: int | None = None
    rank: int | None = None
    local_rank: int | None = None
    loss: float | None = None
    grad_norm: float | None = None
    compute_s: float | None = None


class Lines:
    """Follows a text file that grows, and that may be replaced by another at any time.

    `from_end`: what is there already does not count; for lines that do not say when they were written.
    """

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self._path = path
        self._offset, self._inode = 0, 0
        if from_end and path.exists():
            self._offset, self._inode = path.stat().st_size, path.stat().st_ino

    def new(self) -> list[str]:
        """The complete lines since the last call."""
        try:
            with owner.opened(self._path.parent, self._path) as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode or stat.st_size < self._offset:
                    self._inode, self._offset = stat.st_ino, 0
                if stat.st_size == self._offset:
                    return []
                start = max(self._offset, stat.st_size - READ_BYTES_MAX)
                file.seek(start)
                text = file.read(READ_BYTES_MAX)
        except OSError:
            return []  # not there yet, or gone with its attempt
        was_skipped = start > self._offset
        whole = text[: text.rfind(b"\n") + 1]
        # A line longer than all that is read at once is no report: go on behind it.
        self._offset = start + (len(whole) or (len(text) if len(text) == READ_BYTES_MAX else 0))
        return whole.decode("utf-8", "replace").splitlines()[1 if was_skipped else 0 :]


def of_helper(line: str) -> Report | None:
    """A line of `progress.jsonl`; the file is the program's to write, so whatever makes no sense is no report."""
    try:
        data = json.loads(line)
        metrics = data.get("metrics") or {}
        step, at = int(data["step"]), float(data["at"])
        total = data.get("total_steps")
        report = Report(
            step, at if math.isfinite(at) else 0.0, None if total is None else int(total),
            rank=_rank(data.get("rank", metrics.get("rank"))),
            local_rank=_rank(data.get("local_rank", metrics.get("local_rank"))),
            loss=_metric(metrics, "loss"), grad_norm=_metric(metrics, "grad_norm"),
            compute_s=_metric(metrics, "compute_s"),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return report if step >= 0 else None


def _metric(metrics: Mapping[str, Any], name: str) -> float | None:
    """The metric of this name, or the first whose name ends so, such as `train_loss` or `train/loss`."""
    for key in (name, *(key for key in metrics if str(key).endswith((f"_{name}", f"/{name}")))):
        if isinstance(metrics.get(key), int | float):
            return float(metrics[key])
    return None


def _rank(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < RANK_MAX else None


_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
_STEP = re.compile(r"\b(?:global[_ ]step|step|iter(?:ation)?)s?\b\W{0,12}(\d{1,10})(?:\s*(?:/|of)\s*(\d{1,10}))?", re.I)
_LOSS = re.compile(rf"\b(?:\w+[ _])?loss\b['\"]?\s*[:=]?\s*({_NUMBER})\b", re.I)

LINE_CHARS_MAX = 2_000


def of_output(line: str) -> Report | None:
    """A line such as "step 120/1000 loss 2.31", "Iteration 5: ... lm loss: 7.1E+00"; None for any other."""
    if len(line) > LINE_CHARS_MAX:
        return None
    step = _STEP.search(line)
    if step is None:
        return None
    loss = _LOSS.search(line)
    total = int(step[2]) if step[2] else None
    return Report(int(step[1]), total_steps=total, loss=None if loss is None else float(loss[1]))


class Reader:
    """Reads what one attempt says on this node. The program's output counts until the helper says anything."""

    def __init__(self, run_folder: Path, output: Path | None) -> None:
        self._helper = Lines(run_folder / "progress.jsonl")
        self._output = None if output is None else Lines(output, from_end=True)
        self.from_output = output is not None

    def new(self) -> Iterator[Report]:
        """What was said since the last call, oldest first."""
        reports = [report for line in self._helper.new() if (report := of_helper(line)) is not None]
        if reports:
            self.from_output = False
        lines = [] if self._output is None else self._output.new()
        if self.from_output:
            reports += [report for line in lines if (report := of_output(line)) is not None]
        yield from reports
