"""The guard: whatever happens to anybody else, no process of an attempt outlives its end or its lease."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from godwit.agents.runtime import guard
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder, ExitRecord

# A child in a session of its own, an orphan whose parent is gone, and one that ignores being asked.
STRAYS = "setsid sleep 300 & (setsid sleep 300 &) ; sh -c 'trap \"\" TERM; sleep 300' & "


class Attempt:
    """An attempt's folder with a lease, and the guard on it."""

    def __init__(self, node_dir: Path) -> None:
        self.folder = AttemptFolder(node_dir, "att-1")
        self.folder.make()
        self.lease_path = node_dir / "lease"
        self.custody = Custody(self.folder, self.lease_path)
        self.lease(60.0)

    def lease(self, seconds: float) -> None:
        guard.write_whole(self.lease_path, f"{guard.boottime_s() + seconds} boot")

    def start(self, *scripts: str) -> None:
        steps = [
            {"name": f"step-{i}", "argv": ["sh", "-c", s], "cwd": str(self.folder.root), "log": str(self.folder.output)}
            for i, s in enumerate(scripts)
        ]
        self.custody.start(steps, {**os.environ, "GODWIT_RUN_DIR": str(self.folder.run)})

    def processes(self) -> list[psutil.Process]:
        """What runs of the attempt, but the guard, which leaves right after its last word."""
        mark, found, own = str(self.folder.run), [], self.guard_pid()
        for process in psutil.process_iter():
            try:
                marked = process.pid != own and process.environ().get("GODWIT_RUN_DIR") == mark
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def guard_pid(self) -> int:
        return int((self.folder.root / "guard.pid").read_text())


@pytest.fixture
def attempt(tmp_path: Path) -> Iterator[Attempt]:
    attempt = Attempt(tmp_path)
    yield attempt
    attempt.custody.stop(0.0)
    for process in attempt.processes():
        process.kill()


def test_when_the_main_step_ends_everything_it_left_behind_is_killed(
    attempt: Attempt, eventually: Callable[..., Any]
) -> None:
    attempt.start(STRAYS + "sleep 0.3; exit 7")
    assert eventually(attempt.custody.ended, 10) == ExitRecord("ended", "step-0", 7)
    assert attempt.processes() == []


@pytest.mark.parametrize("how", ["stop file", "SIGTERM"])
def test_when_told_to_stop_everything_is_killed(attempt: Attempt, eventually: Callable[..., Any], how: str) -> None:
    attempt.start(STRAYS + "sleep 300")
    eventually(lambda: len(attempt.processes()) >= 4)
    assert attempt.custody.ended() is None
    if how == "SIGTERM":
        os.kill(attempt.guard_pid(), signal.SIGTERM)
    else:
        attempt.custody.stop(0.0)
    assert eventually(attempt.custody.ended, 10) == ExitRecord("stopped", "step-0", None)
    assert attempt.processes() == []


def test_when_the_lease_runs_out_everything_is_killed_though_nobody_else_lives(
    attempt: Attempt, eventually: Callable[..., Any]
) -> None:
    attempt.lease(1.5)
    attempt.start(STRAYS + "sleep 300")
    eventually(lambda: len(attempt.processes()) >= 4)
    attempt.lease(3.0)
    deadline = guard.read_deadline_s(attempt.lease_path)
    record = eventually(attempt.custody.ended, 10)
    assert record == ExitRecord("lease", "step-0", None)
    assert guard.boottime_s() >= deadline, "the lease had been moved on"
    assert attempt.processes() == []


@pytest.mark.parametrize("lease", ["", "nonsense", None])
def test_without_a_readable_lease_nothing_runs(
    attempt: Attempt, eventually: Callable[..., Any], lease: str | None
) -> None:
    if lease is None:
        attempt.lease_path.unlink()
    else:
        attempt.lease_path.write_text(lease)
    attempt.start("sleep 300")
    assert eventually(attempt.custody.ended, 10).cause == "lease"


def test_a_program_is_asked_first_and_may_use_its_grace(attempt: Attempt, eventually: Callable[..., Any]) -> None:
    run, saved, ready = attempt.folder.run, attempt.folder.root / "saved", attempt.folder.root / "ready"
    program = attempt.folder.root / "program"
    program.write_text(f"trap 'sleep 0.3; touch {saved}; exit 0' TERM\ntouch {ready}\nwhile :; do sleep 0.05; done\n")
    attempt.start(f"echo $$ > {run}/program.pid; sh {program}; echo 0 > {run}/exit_code; sleep 300")
    eventually(ready.exists)
    attempt.custody.stop(20.0)
    attempt.custody.end()
    assert eventually(attempt.custody.ended, 10).cause == "stopped"
    assert saved.exists()
    assert attempt.folder.notice_path.exists(), "so that processes hear of it whom no signal reaches"


SAVER = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1]).touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[2]).touch()
while True:
    time.sleep(0.05)
"""


def test_shells_and_readers_of_output_live_as_long_as_somebody_below_them_saves(
    attempt: Attempt, eventually: Callable[..., Any]
) -> None:
    run, saved, ready = attempt.folder.run, attempt.folder.root / "saved", attempt.folder.root / "ready"
    (attempt.folder.root / "saver.py").write_text(SAVER)
    program = attempt.folder.root / "program"
    program.write_text(f"{sys.executable} -S {attempt.folder.root}/saver.py {saved} {ready} | cat\nsleep 300\n")
    attempt.start(f"echo $$ > {run}/program.pid; sh {program}; echo $? > {run}/exit_code; sleep 300")
    eventually(ready.exists)
    attempt.custody.stop(60.0)
    assert eventually(attempt.custody.ended, 20).cause == "stopped"
    assert saved.exists()
    assert (run / "exit_code").read_text() == "143\n", "what came after the saver was told in its turn"


def test_what_keeps_a_shell_from_its_trap_is_told_too(attempt: Attempt, eventually: Callable[..., Any]) -> None:
    run, saved, ready = attempt.folder.run, attempt.folder.root / "saved", attempt.folder.root / "ready"
    program = attempt.folder.root / "program"
    program.write_text(f"trap 'touch {saved}; exit 0' TERM\ntouch {ready}\nsleep 300\n")
    attempt.start(f"echo $$ > {run}/program.pid; sh {program}; echo 0 > {run}/exit_code; sleep 300")
    eventually(ready.exists)
    attempt.custody.stop(60.0)
    assert eventually(attempt.custody.ended, 20).cause == "stopped"
    assert saved.exists()


def test_a_grace_ends_when_a_shorter_one_is_ordered(attempt: Attempt, eventually: Callable[..., Any]) -> None:
    attempt.start(f"echo $$ > {attempt.folder.run}/program.pid; sh -c 'trap \"\" TERM; sleep 300'; sleep 300")
    eventually(lambda: len(attempt.processes()) >= 3)
    attempt.custody.stop(200.0)
    attempt.custody.stop(0.0)
    assert eventually(attempt.custody.ended, 10).cause == "stopped"


def test_a_failed_step_ends_the_attempt_before_the_next(attempt: Attempt, eventually: Callable[..., Any]) -> None:
    attempt.start("echo set-up; exit 4", "echo never")
    assert eventually(attempt.custody.ended, 10) == ExitRecord("ended", "step-0", 4)
    assert attempt.folder.output.read_text() == "set-up\n"


def test_steps_hear_sigterm(attempt: Attempt, eventually: Callable[..., Any]) -> None:
    attempt.start("kill -TERM $$; sleep 300")
    assert eventually(attempt.custody.ended, 10) == ExitRecord("ended", "step-0", 128 + signal.SIGTERM)


def test_a_killed_guard_leaves_nothing_running_once_somebody_looks(
    attempt: Attempt, eventually: Callable[..., Any]
) -> None:
    attempt.start(STRAYS + "sleep 300")
    eventually(lambda: len(attempt.processes()) >= 4)
    os.kill(attempt.guard_pid(), signal.SIGKILL)
    somebody_else = Custody(attempt.folder, attempt.lease_path)
    assert eventually(somebody_else.ended, 10).cause == "guard-died"
    assert attempt.processes() == []


def test_a_guard_is_seen_by_others_while_it_lives_and_a_second_one_goes_away(
    attempt: Attempt, eventually: Callable[..., Any]
) -> None:
    attempt.start("sleep 300")
    assert attempt.folder.guarded
    second = subprocess.run([sys.executable, guard.__file__, str(attempt.folder.root)], timeout=10, check=False)
    assert second.returncode == 0
    assert attempt.folder.guarded
    attempt.custody.stop(0.0)
    eventually(attempt.custody.ended, 10)
    eventually(lambda: not attempt.folder.guarded, 10, "it writes down the end first, and then goes")


def test_a_step_that_waits_for_a_port_gives_up(attempt: Attempt, eventually: Callable[..., Any]) -> None:
    steps = [{"name": "wait", "connect": ["127.0.0.1", 9], "timeout_s": 0.5}]
    attempt.custody.start(steps, dict(os.environ))
    assert eventually(attempt.custody.ended, 10) == ExitRecord("head-unreachable", "wait", None)


def test_a_node_does_not_wait_out_its_grace_once_the_head_is_gone(
    attempt: Attempt, eventually: Callable[..., Any]
) -> None:
    head = socket.create_server(("127.0.0.1", 0))
    steps: list[dict[str, Any]] = [
        {"name": "wait", "connect": list(head.getsockname()), "timeout_s": 60.0},
        {"name": "ray", "argv": ["sleep", "300"], "cwd": str(attempt.folder.root), "log": str(attempt.folder.output)},
    ]
    attempt.custody.start(steps, {**os.environ, "GODWIT_RUN_DIR": str(attempt.folder.run)})
    eventually(attempt.processes)
    attempt.custody.stop(280.0)
    time.sleep(1.0)  # nothing tells that the guard goes on waiting
    assert attempt.processes()
    head.close()
    assert eventually(attempt.custody.ended).cause == "stopped"
    assert not attempt.processes()


def test_an_unreadable_order_to_stop_is_an_order_to_stop(attempt: Attempt, eventually: Callable[..., Any]) -> None:
    attempt.start("sleep 300")
    (attempt.folder.root / "stop.json").write_text(json.dumps({"grace": "?"}))
    assert eventually(attempt.custody.ended, 10).cause == "stopped"
