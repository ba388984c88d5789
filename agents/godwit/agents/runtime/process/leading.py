"""What the agent does for a program in a box: it says what the guard runs, and fetches an older save when asked."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.ray_job import ClusterNotReady, SubmissionRefused
from godwit.domain.wire.agents import StartAttempt

POLL_S = 0.05

_SOURCE = Path(__file__).parents[4]
"""The folder that holds `godwit.agents`: the box runs without the packages of the site, to start at once."""

_ENTER = (
    "import sys; sys.path.insert(0, {source!r}); from godwit.agents.runtime.process import box; sys.exit(box.main())"
)


def steps(command: StartAttempt, folder: AttemptFolder) -> list[dict[str, Any]]:
    """What the guard does for a program that is saved as a process; set-up sees the paths that the program will see."""
    argv = [sys.executable, "-I", "-S", "-c", _ENTER.format(source=str(_SOURCE)), str(folder.root)]
    where = {"cwd": str(folder.workdir), "log": str(folder.output)}
    setup = [{"name": "setup", "argv": [*argv, "--setup", command.setup], **where}] if command.setup else []
    return [*setup, {"name": "process", "argv": argv, **where}]


def prepare(command: StartAttempt, folder: AttemptFolder, criu: Sequence[str]) -> None:
    """Leave for the box what it needs. Raises `SubmissionRefused` on a node that cannot save programs."""
    if not criu:
        raise SubmissionRefused("this node cannot save a running program: there is no CRIU")
    (folder.root / "tmp").mkdir(exist_ok=True)
    write_whole(folder.root / "run.sh", command.run + "\n")
    spec = {"criu": list(criu), "interval_s": command.saving.interval_s}
    write_whole(folder.root / "box.json", json.dumps(spec))


class BoxJob:
    """The program in its box, watched as a Ray job is. `older()` fetches the save before the last one that was fetched
    and returns its path, "" when there is none; `going_on()` says whether to keep waiting."""

    def __init__(self, folder: AttemptFolder, older: Callable[[], str], going_on: Callable[[], bool]) -> None:
        self._folder, self._older, self._going_on = folder, older, going_on

    def wait_for_nodes(self, timeout_s: float) -> None:
        """There is one node: this one."""

    def submit(self, timeout_s: float) -> None:
        """Wait until the program runs, restored or begun. Raises `ClusterNotReady`, and `StoreUnavailable`."""
        deadline = time.monotonic() + timeout_s
        while self._going_on() and not self._folder.program_started():
            if time.monotonic() > deadline:
                raise ClusterNotReady(f"the program's room was not ready within {timeout_s:g} s")
            self._answer()
            time.sleep(POLL_S)

    def ended(self) -> tuple[str, int | None] | None:
        """The box itself says how the program ended; a box that was killed ends its guard."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self) -> None:
        """The box asks for an older save when this node cannot restore the one that it has."""
        refused, answer = self._folder.run / "refused.json", self._folder.run / "older.json"
        if not refused.exists():
            return
        name = json.loads(refused.read_text())["entry"]
        if answer.exists() and json.loads(answer.read_text())["than"] == name:
            return
        write_whole(answer, json.dumps({"than": name, "entry": self._older()}))
