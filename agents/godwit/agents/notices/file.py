"""A file in the node's folder, for machines whose owners give notice by hand or by a hook.

    echo 300 > $GODWIT_NODE_DIR/notice

A number is the seconds that are left; `{"within_s": 300, "reason": "..."}` says why as well. An SSH pool's owner writes
it, the hook that a container runs before it is ended, and a simulated cloud. Seconds count from when it was written.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from godwit.agents.effects import Noticed

NAME = "notice"
DEFAULT_S = 30.0
"""What is left where nobody says: what containers have by default (Kubernetes: terminationGracePeriodSeconds)."""

MOST_S = 604_800.0
_READ_BYTES = 4_096


class NoticeFile:
    """Looks at one file. What cannot be read as a time still is a notice: whoever wrote it meant one."""

    every_s = 0.2

    def __init__(self, folder: Path, wall_s: Callable[[], float] = time.time) -> None:
        self._path, self._wall_s = folder / NAME, wall_s

    def look(self) -> Noticed | None:
        """What the file says, if it is there."""
        try:
            written_at = self._path.stat().st_mtime
            with self._path.open("rb") as file:
                text = file.read(_READ_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            return None
        said = _read(text)
        left_s = max(0.0, _seconds(said.get("within_s")) - max(0.0, self._wall_s() - written_at))
        return Noticed("file", left_s, str(said.get("reason") or "its notice file was written")[:500])


def _read(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {"within_s": said}


def _seconds(said: object) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or math.isnan(said):
        return DEFAULT_S
    return min(MOST_S, max(0.0, float(said)))
