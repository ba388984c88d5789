"""The environment as a program in a room sees it."""

from collections.abc import Mapping
from pathlib import Path

from godwit.agents.runtime.process import rooms

_NOT_THERE = (
    *("RAY_", "MASTER_", "GODWIT_CHECKPOINT_"),  # no Ray runs there, and nobody saves by hand
    *("GODWIT_EPOCH", "GODWIT_ATTEMPT_ID"),  # a program keeps its environment when it is restored: they would be wrong
    "GODWIT_INSTANCE_MARK",  # and with that of a simulated machine it would be ended with a machine that it has left
)


def as_seen_inside(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The same with the attempt's folder where the program sees it, and its temporary files there too."""
    seen = {k: v.replace(str(folder), str(rooms.HERE)) for k, v in env.items() if not k.startswith(_NOT_THERE)}
    return {**seen, "TMPDIR": str(rooms.HERE / "tmp"), "PYTHONUNBUFFERED": "1"}
