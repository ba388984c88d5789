"""The fleet in one compact answer: made once for all who look, and only when something changed."""

import gzip
import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from godwit.control_plane.context import Context
from godwit.control_plane.loads import NodeLoads
from godwit.control_plane.services import fleet_map
from godwit.control_plane.store import fleet_rows
from pydantic_core import to_json

LARGE_NODES, PAUSE_S = 500, 1.0
"""A fleet of more nodes than this is read again after `PAUSE_S` at the soonest, however much happens in it and however
many look: it changes all the time, and to read it costs a tenth of a second."""

KEPT_MAX = 16
"""Answers that are kept, one for each project whose members look, and one for those who see all."""

_LEVEL = 4
"""Of zlib, 1 to 9: columns of a few codes shrink to a tenth at any level, and this one takes half the time of the
default."""


@dataclass(frozen=True)
class FleetAnswer:
    """A `FleetView` as JSON, plain and packed by gzip, with its version."""

    version: str
    plain: bytes
    packed: bytes


@dataclass(frozen=True)
class _Kept:
    stamp: tuple[Any, ...]
    at: float
    is_large: bool
    answer: FleetAnswer


class FleetViews:
    """Answers of this process. Callable from any thread; those who ask at once wait for one reading."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._kept: OrderedDict[str | None, _Kept] = OrderedDict()

    def get(self, context: Context, project: str | None) -> FleetAnswer:
        """The fleet as of now; with a `project`, jobs of others have no names in it."""
        with self._turn:
            kept = self._kept.get(project)
            if kept is not None and kept.is_large and time.monotonic() - kept.at < PAUSE_S:
                return kept.answer
            now = context.now()
            with context.db.read() as conn:
                stamp = (*fleet_rows.stamp(conn), context.loads.stamp(now))
                if kept is not None and kept.stamp == stamp:
                    return kept.answer
                rows = fleet_rows.read(conn)
            answer = _answer(rows, context.loads.newest(now), project, now)
            self._kept[project] = _Kept(stamp, time.monotonic(), len(rows.nodes) > LARGE_NODES, answer)
            self._kept.move_to_end(project)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
            return answer


def _answer(rows: fleet_rows.FleetRows, loads: NodeLoads, project: str | None, now: float) -> FleetAnswer:
    content = fleet_map.columns(fleet_map.draw(rows), rows.jobs, project, loads)
    text = to_json(content)
    version = hashlib.sha256(text).hexdigest()[:24]
    plain = to_json({"version": version, "at": now})[:-1] + b"," + text[1:]
    # Without its time stamp, so that the same content is the same bytes.
    return FleetAnswer(version, plain, gzip.compress(plain, _LEVEL, mtime=0))
