"""How a demo is run: once, in a fresh home; and whatever happens, nothing of it is left running."""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import evidence
import httpx
from fleet import Fleet, NotShown, go_on_unheard, say, wait_for
from rich.console import Console
from rich.table import Table

GONE_S = 20.0
NOTE_EVERY_S = 5.0
"""Looking at every process of this machine takes a tenth of a second."""

FINAL_STATES = ("succeeded", "failed", "cancelled")
INTERRUPTED = "interrupted"

Rows = list[tuple[str, str]]


class Machines:
    """Every process that was seen on any machine of the fleet, to look for it at the end."""

    def __init__(self) -> None:
        self._processes: set[evidence.Process] = set()
        self._noted_at = 0.0

    def note(self, fleet: Fleet) -> None:
        """Remember every process of every machine."""
        self._noted_at = time.monotonic()
        for node in fleet.get("/nodes")["items"]:
            if node["address"]:
                self._processes |= evidence.processes_of(node["address"])

    def note_now_and_then(self, fleet: Fleet) -> None:
        """The same where the last look was a while ago."""
        if time.monotonic() - self._noted_at > NOTE_EVERY_S:
            self.note(fleet)

    def left(self, fleet: Fleet) -> set[evidence.Process]:
        """What of them still runs, and whatever else works for this fleet."""
        return {process for process in self._processes if process.is_alive()} | evidence.processes_naming(fleet.home)


Story = Callable[[Fleet, Path, Machines], Rows]
"""Shows everything once and returns the rows of the summary; raises `NotShown`."""


def main(about: str, title: str, story: Story, spec: Path) -> int:
    """Show it once; the exit code says whether it all happened: 0, 1, or 130 when somebody stopped it."""
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keep", action="store_true", help="keep the home folder, to look into it")
    options.add_argument("--spec", type=Path, default=spec, help="another job that reports its accuracy")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    fleet, started = Fleet(Path(tempfile.mkdtemp(prefix="godwit-demo-"))), time.monotonic()

    def told(machines: Machines) -> None:
        rows = story(fleet, given.spec, machines)
        _summarise(title, rows, time.monotonic() - started)
        _invite(fleet)

    failure = _tried(fleet, told)
    if failure == INTERRUPTED:
        print("\nstopped; nothing of it is left running", file=sys.stderr)
    elif failure is not None:
        print(f"\nthe demo failed: {failure}\neverything it left to look at is in {fleet.home}", file=sys.stderr)
        return 1
    if not given.keep:
        shutil.rmtree(fleet.home, ignore_errors=True)
    return 130 if failure else 0


def _tried(fleet: Fleet, told: Callable[[Machines], None]) -> str | None:
    """Show it, and stop everything whatever happens; returns what did not happen."""
    machines, failure = Machines(), None
    try:
        told(machines)
    except NotShown as exc:
        failure = str(exc)
    except httpx.HTTPError as exc:
        failure = f"the control plane does not answer: {exc}"
    except (KeyboardInterrupt, BrokenPipeError):
        failure = INTERRUPTED
    finally:
        for sent in (signal.SIGINT, signal.SIGTERM):  # a second one must not leave machines behind
            signal.signal(sent, signal.SIG_IGN)
        go_on_unheard()
        try:
            _leave_nothing(fleet, machines)
        except NotShown as exc:
            failure = f"{failure}; {exc}" if failure else str(exc)
    return failure


def _invite(fleet: Fleet) -> None:
    """Say where all of this can be looked at; at a terminal it stays until somebody presses Enter."""
    say("the dashboard of this fleet")
    fleet.run("dashboard", "--no-open")
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            input("Open it within two minutes; everything stays until you press Enter here. ")
        except (EOFError, KeyboardInterrupt):
            print()
    else:
        say("at a terminal it stays until you press Enter; `godwit up` and `godwit dashboard` open your own")


def wait_for_process(process: "subprocess.Popen[str]", what: str) -> int:
    """Its exit code; raises `NotShown` when it does not end with its job."""
    try:
        return process.wait(timeout=GONE_S)
    except subprocess.TimeoutExpired as exc:
        raise NotShown(f"{what} did not end with its job") from exc


def _leave_nothing(fleet: Fleet, machines: Machines) -> None:
    """Stop everything, and look for what still runs; raises `NotShown` naming it."""
    fleet.run("down")
    try:
        wait_for("the end of all processes", GONE_S, lambda: None if machines.left(fleet) else True)
    except NotShown as exc:
        commands = sorted(f"{each.pid} {each.command}" for each in machines.left(fleet))
        raise NotShown(f"still running after `godwit down`: {commands}") from exc


def _summarise(title: str, rows: Rows, took_s: float) -> None:
    table = Table(title=title, show_header=False)
    for name, value in [*rows, ("the whole demo took", f"{took_s:.0f} s")]:
        table.add_row(name, value)
    Console().print("\n", table)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
