"""The desk on its own: a real pseudo-terminal, a home that is saved, and an end that loses nothing."""

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.checkpoints import notes
from godwit.agents.dev import home, terminals, use

from tests.agents.conftest import eventually
from tests.agents.dev.desks import Running


class Asked(Running):
    """A desk, and what an agent asks of it."""

    def ask(self, *argv: str, tty: bool = True) -> "Terminal":
        connection = eventually(self._connected, 60, "the desk listens")
        wanted = {"argv": argv, "tty": tty, "rows": 40, "cols": 132, "term": "xterm"}
        connection.sendall(json.dumps(wanted).encode() + b"\n")
        return Terminal(connection)

    def _connected(self) -> socket.socket | None:
        try:
            return terminals.connect(self.folder)
        except OSError:
            assert self.process.poll() is None, self.output.read_text()
            return None


class Terminal:
    """What the agent has in hand."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(60)
        self.said, self.ends, _, _ = socket.recv_fds(connection, 4096, 2)
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self.ends[0], text.encode())

    def read_until(self, wanted: bytes) -> None:
        while wanted not in self.shown:
            more = os.read(self.ends[1], 4096)
            assert more, self.shown
            self.shown += more

    def exit(self) -> int:
        return int(json.loads(self.connection.recv(4096))["exit"])

    def cut(self) -> None:
        for end in self.ends:
            os.close(end)
        self.connection.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Callable[..., Asked]]:
    made: list[Asked] = []

    def start(name: str = "one", **more: Any) -> Asked:
        made.append(Asked(tmp_path / name, **more))
        return made[-1]

    yield start
    for running in made:
        running.process.kill()
        running.process.wait()


def test_a_login_shell_has_a_terminal_of_the_asked_size_and_its_exit_code_is_told(desk: Callable[..., Asked]) -> None:
    running = desk()
    terminal = running.ask()
    terminal.type("stty size; echo home=$HOME; [[ -o login_shell ]]; shopt -q login_shell && echo is-login; tty\n")
    for wanted in (b"40 132", f"home={running.home}".encode(), b"\nis-login", b"/dev/pts/"):
        terminal.read_until(wanted)
    terminal.type("exit 7\n")
    assert terminal.exit() == 7


def test_a_command_without_a_terminal_has_pipes_and_sees_the_end_of_its_input(desk: Callable[..., Asked]) -> None:
    terminal = desk().ask("sh", "-c", "cat; exit 3", tty=False)
    os.write(terminal.ends[0], b"plain\nbytes")
    os.close(terminal.ends[0])
    terminal.read_until(b"plain\nbytes")
    assert terminal.exit() == 3


def test_what_cannot_be_started_is_refused_with_its_reason(desk: Callable[..., Asked]) -> None:
    terminal = desk().ask("/no/such/program")
    assert terminal.ends == []
    assert "No such file" in json.loads(terminal.said)["refused"]


def test_a_line_that_is_cut_hangs_up_and_the_environment_goes_on(desk: Callable[..., Asked], tmp_path: Path) -> None:
    running = desk()
    terminal = running.ask()
    terminal.type(f"trap 'touch {tmp_path}/hung-up; exit' HUP; echo rea''dy; read x\n")
    terminal.read_until(b"ready")
    terminal.cut()
    eventually((tmp_path / "hung-up").exists, 60, "the shell heard of it")
    assert running.ask("true", tty=False).exit() == 0


def test_the_home_is_saved_at_the_end_and_begins_there_again(desk: Callable[..., Asked]) -> None:
    first = desk()
    terminal = first.ask()
    terminal.type("umask 077; echo kept > ~/note; ln -s note ~/link; echo do''ne; sleep 1000\n")
    terminal.read_until(b"done")
    assert first.stop() == 143
    (entry,) = first.entries()
    assert [save.entry for save in notes.take_saves(first.folder / "run")] == [entry.name]
    second = desk("two", restored=entry)
    shown = second.ask("sh", "-c", "cat ~/link; stat -c %a ~/note; ls -A ~", tty=False)
    shown.read_until(b".profile\n")
    assert shown.exit() == 0
    assert shown.shown.startswith(b"kept\n600\n")
    assert second.stop() == 143
    assert second.entries() == [], "nothing changed, so there is nothing to save"


def test_a_home_that_changes_is_saved_meanwhile_so_that_a_killed_one_loses_little(desk: Callable[..., Asked]) -> None:
    running = desk(interval_s=0.1)
    for text in ("one", "two", "three"):
        assert running.ask("sh", "-c", f"echo {text} > ~/note", tty=False).exit() == 0
        said = len(_saves(running))
        eventually(partial(_more_saves, running, said), 60, "it is saved")
    eventually(lambda: desk_rests(running), 60, "what was written last is saved")
    running.process.kill()
    running.process.wait()
    assert len(running.entries()) <= 3, "old ones are cleared away"
    again = desk("again", restored=running.entries()[-1])
    assert again.ask("grep", "-q", "three", "note", tty=False).exit() == 0


def _more_saves(running: Asked, than: int) -> bool:
    return len(_saves(running)) > than


def _saves(running: Asked) -> list[Path]:
    return list(running.folder.glob("run/saves/*.json"))


def desk_rests(running: Asked) -> bool:
    """Whether the newest save is of what lies in the home."""
    entries = running.entries()
    if not entries:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            home.restore(entries[-1], Path(folder))
        except OSError:
            return False  # a newer one came meanwhile
        return (Path(folder) / "note").read_text() == (running.home / "note").read_text()


def test_a_home_that_is_too_large_is_said_to_be_and_not_saved(desk: Callable[..., Asked]) -> None:
    running = desk(home_bytes_max=1000)
    assert running.ask("sh", "-c", "head -c 2000 /dev/zero > ~/big", tty=False).exit() == 0
    assert running.stop() == 143
    assert "the home folder is NOT saved" in running.output.read_text()
    assert running.entries() == []


def test_one_whose_home_cannot_be_saved_is_never_given_back_for_idleness(desk: Callable[..., Asked]) -> None:
    running = desk(idle_after_s=0.5, home_bytes_max=10)
    eventually(lambda: "nobody uses this environment, and it stays" in running.output.read_text(), 60, "it says so")
    assert not (running.folder / "run" / "idle").exists()


def test_an_environment_that_nobody_uses_says_so(desk: Callable[..., Asked]) -> None:
    said = desk(idle_after_s=0.5).folder / "run" / "idle"
    eventually(said.exists, 60, "it is idle")
    assert float(said.read_text()) >= 0


class At:
    """Uses as a test has them: what was computed so far, and whether a GPU is at work."""

    cpu_s, gpus_work = 0.0, False


@pytest.mark.parametrize("by", ["nobody", "typing", "programs", "GPUs"])
def test_typing_programs_and_gpus_are_uses_and_nothing_else_is(by: str) -> None:
    at = At()
    measured = use.Use(3600.0, "0", 0.0, cpu_s=lambda: at.cpu_s, gpus_work=lambda: at.gpus_work)
    told = []
    for minute in range(1, 181):
        now = minute * 60.0
        at.cpu_s += 6.0 if by == "programs" and minute <= 60 else 0.1
        at.gpus_work = by == "GPUs" and minute <= 60
        idle_s = measured.idle_s(now, typed_s_ago=0.0 if by == "typing" and minute <= 60 else 1e6)
        told += [] if idle_s is None else [minute]
    assert told[0] == (60 if by == "nobody" else 120)


def test_one_that_is_never_idle_is_never_told_of() -> None:
    measured = use.Use(None, "", 0.0, cpu_s=lambda: 0.0, gpus_work=lambda: False)
    assert measured.idle_s(1e9, typed_s_ago=1e9) is None
