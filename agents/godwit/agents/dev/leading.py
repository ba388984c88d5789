"""What the agent does for a dev environment: it says what the guard runs, and tells when nobody uses it."""

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from godwit.agents.confinement import owner
from godwit.agents.effects import Idle, RuntimeEvent
from godwit.agents.runtime import ray_cluster, serving
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.domain.wire.agents import StartAttempt

SAVE_S = 300.0
"""The longest time between two looks at the home: what an hour's crash costs is minutes of typing."""

_SOURCE = Path(__file__).parents[3]
"""The folder that holds `godwit.agents`: the desk runs without the packages of the site, to start at once."""

_ENTER = "import sys; sys.path.insert(0, {source!r}); from godwit.agents.dev import desk; sys.exit(desk.main())"


def steps(command: StartAttempt, folder: AttemptFolder, python: str = sys.executable) -> list[dict[str, Any]]:
    """What the guard does for it; the desk is its program, and the job's own `run` goes on beside that.

    `python` is the one that programs of this node have.
    """
    wanted = command.desk
    if wanted is None:
        raise ValueError("the attempt is no dev environment")
    spec = {
        "home_bytes_max": wanted.home_bytes_max,
        "idle_after_s": wanted.idle_after_s,
        "interval_s": min(command.saving.interval_s, SAVE_S),
    }
    write_whole(folder.root / "desk.json", json.dumps(spec))
    write_whole(folder.root / "beside.sh", command.run + "\n")
    for name in ("desk.json", "beside.sh"):
        owner.give(folder.root / name, like=folder.run)
    argv = [python, "-I", "-S", "-c", _ENTER.format(source=str(_SOURCE)), str(folder.root)]
    return serving.steps(command.model_copy(update={"run": f"exec {shlex.join(argv)}"}), folder)


def environment(
    command: StartAttempt, folder: AttemptFolder, facts: NodeFacts, machine_env: Mapping[str, str]
) -> dict[str, str]:
    """What the desk and the people at it see: a home of its own, and nothing of how the attempt's log is written."""
    env = ray_cluster.without_ray(command, folder, facts, machine_env)
    return {**{k: v for k, v in env.items() if k != "PYTHONUNBUFFERED"}, "HOME": str(folder.root / "home")}


class IdleReader:
    """Tells what the desk says of its use, each word once."""

    def __init__(self, command: StartAttempt, folder: AttemptFolder, emit: Callable[[RuntimeEvent], None]) -> None:
        self._command, self._path, self._emit = command, folder.run / "idle", emit
        self._told = ""

    def look(self) -> None:
        """Tell if there is something new."""
        if self._command.desk is None or not self._path.exists():
            return
        said = owner.text(self._path.parent, self._path)
        if said != self._told:
            self._told = said
            self._emit(Idle(self._command.attempt_id, float(said)))
