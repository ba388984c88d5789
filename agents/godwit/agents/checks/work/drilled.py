"""Fire drills of a program: what `godwit drill` does to the processes of an attempt on a simulated node.

The program itself is slowed or stopped by signals, or a report of a step is left in its name, so that everything that
finds and judges this is what finds a real one. Only processes that were there when the drill was ordered suffer: the
job's next attempt is well. A drill that is mended ends at once.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import structlog
from godwit.agents.accelerators.faults import WorkFault
from godwit.agents.checks.work import reports, stacks
from godwit.agents.checks.work.reports import Report
from godwit.agents.confinement import owner

log = structlog.get_logger()

LOOK_S = 0.2
STOPPED_OF = (3, 4)
"""A straggler stands still in three of four looks: for 0.6 s of each 0.8 s, so that it takes four times as long."""

TAIL_BYTES = 64 * 1024

Faults = Callable[[], Sequence[WorkFault]]


class Drilled:
    """The drills of one attempt; `faults` says what befalls programs of this node now."""

    def __init__(self, run_folder: Path, output: Path | None, faults: Faults) -> None:
        self._run_folder, self._output, self._faults = run_folder, output, faults
        self._began_at = time.time()
        self._looks = 0
        self._victims: dict[WorkFault, list[psutil.Process]] = {}
        self._stopped: set[psutil.Process] = set()
        self._told: set[WorkFault] = set()
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin, on a thread."""
        threading.Thread(target=self._run, name="drilled", daemon=True).start()

    def close(self) -> None:
        """The attempt is over; returns at once."""
        self._closing.set()

    def look(self) -> None:
        """Do what the drills say now."""
        self._looks += 1
        now = self._faults()
        for fault in now:
            is_new = fault.kind == "loss-nan" and fault.at >= self._began_at and fault not in self._told
            if is_new and self._say_nan():
                self._told.add(fault)
        still = {one for fault in now if self._stands_still(fault) for one in self._of(fault)}
        for process in still - self._stopped:
            _signal(process.suspend)
        for process in self._stopped - still:
            _signal(process.resume)
        self._stopped = still

    def _run(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                self.look()
            except (OSError, ValueError) as exc:
                log.warning("a drill cannot be carried out", reason=f"{type(exc).__name__}: {exc}")

    def _stands_still(self, fault: WorkFault) -> bool:
        stopped, of = STOPPED_OF
        return fault.kind == "hang" or (fault.kind == "straggler" and self._looks % of < stopped)

    def _of(self, fault: WorkFault) -> list[psutil.Process]:
        """Whom it befalls: a rank of the program here, the last where none is named; all, where there are no ranks."""
        if fault not in self._victims:
            there = stacks.targets(self._run_folder)
            processes = [(one, psutil.Process(one.pid)) for one in there if psutil.pid_exists(one.pid)]
            older = [(one, process) for one, process in processes if process.create_time() < fault.at]
            ranks = [process for one, process in older if one.kind == "rank"]
            chosen = ranks[-1:] if fault.process is None else ranks[fault.process : fault.process + 1]
            self._victims[fault] = chosen if ranks else [process for _, process in older]
            if older:
                pids = [process.pid for process in self._victims[fault]]
                log.warning(
                    "a drill befalls a program" if pids else "no such process to drill", kind=fault.kind, pids=pids
                )
        return self._victims[fault]

    def _say_nan(self) -> bool:
        """Report the last step again, with a loss that is no number; false while the program has said nothing."""
        helper = self._run_folder / "progress.jsonl"
        lines = _tail(helper)
        said = next((line for line in reversed(lines) if reports.of_helper(line) is not None), None)
        if said is not None:
            record = json.loads(said)
            record |= {"at": time.time(), "metrics": {**(record.get("metrics") or {}), "loss": math.nan}}
            _append(helper, json.dumps(record))
            return True
        if self._output is None:
            return False
        last = _last_step(_tail(self._output))
        if last is not None:
            _append(self._output, f"godwit drill: step={last.step} loss=nan")
        return last is not None


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.Error as exc:  # it has ended: there is nobody left to drill
        log.info("a process of a drill is gone", reason=str(exc))


def _tail(path: Path) -> list[str]:
    if not path.exists():
        return []
    with owner.opened(path.parent, path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
        text = file.read(TAIL_BYTES)
    return text[: text.rfind(b"\n") + 1].decode("utf-8", "replace").splitlines()


def _last_step(lines: Sequence[str]) -> Report | None:
    return next((report for line in reversed(lines) if (report := reports.of_output(line)) is not None), None)


def _append(path: Path, line: str) -> None:
    with owner.acting(path.parent), path.open("a") as file:
        file.write(line + "\n")
