"""What the in-job helper writes about the program's progress, read line by line."""

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

from godwit.agents.confinement import owner
from godwit.agents.effects import Progress

METRICS_MAX = 64
STEP_MAX = 2**31 - 1
"""What the control plane's column holds (`JobProgress.step`)."""

LINE_BYTES_MAX = 65_536


class ProgressReader:
    """Follows `progress.jsonl`; the program may replace the file by an empty one at any time (rotation)."""

    def __init__(self, run_folder: Path, attempt_id: str) -> None:
        self._run_folder, self._path = run_folder, run_folder / "progress.jsonl"
        self._attempt_id = attempt_id
        self._offset = 0
        self._inode = 0

    def newest(self) -> Progress | None:
        """The last complete report since the last call, or None."""
        try:
            file = owner.opened(self._run_folder, self._path)
        except OSError:
            return None  # not there yet, or no file: the program may put anything there
        with file:
            return self._newest_of(file)

    def _newest_of(self, file: BinaryIO) -> Progress | None:
        stat = os.fstat(file.fileno())
        if stat.st_ino != self._inode or stat.st_size < self._offset:
            self._inode, self._offset = stat.st_ino, 0
        if stat.st_size == self._offset:
            return None
        file.seek(max(self._offset, stat.st_size - LINE_BYTES_MAX))
        text = file.read(LINE_BYTES_MAX)
        whole = text[: text.rfind(b"\n") + 1]
        self._offset = file.tell() - (len(text) - len(whole))
        reports = (self._parse(line) for line in reversed(whole.splitlines()))
        return next((report for report in reports if report is not None), None)

    def _parse(self, line: bytes) -> Progress | None:
        # The file is the user's program's to write; a line that makes no sense is no progress.
        try:
            data = json.loads(line)
            total, at, step = data.get("total_steps"), float(data["at"]), int(data["step"])
            total = None if total is None else int(total)
            if not math.isfinite(at) or not 0 <= step <= STEP_MAX or not 0 <= (total or 0) <= STEP_MAX:
                return None
            return Progress(self._attempt_id, at, step, total, _finite(data.get("metrics") or {}))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return None


def _finite(metrics: dict[str, Any]) -> dict[str, float]:
    numbers = {str(k)[:128]: float(v) for k, v in metrics.items() if isinstance(v, int | float)}
    return dict([(k, v) for k, v in numbers.items() if math.isfinite(v)][:METRICS_MAX])
