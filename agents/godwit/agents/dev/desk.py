"""The desk: the program of a dev environment. It keeps the home folder and opens terminals; one process, no threads.

    python -I -S -c ... desk FOLDER       started by the guard, in the attempt's folder

What it needs lies in `desk.json`. It listens at `run/desk.sock`, where only the agent of its node comes (terminals.py).
SIGTERM makes it hang up, save the home and end with 143, as programs do that end of it. It ends for nothing else.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from godwit.agents.dev import home, terminals, use
from godwit.agents.dev.home import Found
from godwit.agents.runtime.guard import write_whole

LOOK_S = 1.0
"""How often the loop turns by itself."""

UNUSED_S = 600.0
"""After so long without use the control plane is told, which counts what it holds as held and not as work."""

HANG_UP_S = 3.0
"""How long what runs has to end before the last save, a third of the grace at most: editors write what is unsaved."""

KEPT = 2
"""Entries that stay in the folder of checkpoints: the agent has linked the older ones by then."""

ENDED_BY_SIGTERM = 128 + signal.SIGTERM

PROFILE = """\
# Made by godwit: a login shell finds what other programs of this environment find. It is yours now.
PATH="$GODWIT_PATH:$PATH"
if [ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ]; then . "$HOME/.bashrc"; fi
"""


@dataclass(frozen=True)
class Saved:
    """The last save: its number, its entry (None before the first), and what was in the home then."""

    step: int
    entry: Path | None
    found: list[Found]


class Desk:
    """One desk, in the attempt's folder."""

    def __init__(self, folder: Path) -> None:
        spec = json.loads((folder / "desk.json").read_text())
        self._folder, self._run, self._checkpoints = folder, folder / "run", folder / "checkpoints"
        self._bytes_max: int = spec["home_bytes_max"]
        self._interval_s: float = spec["interval_s"]
        self._home = folder / "home"
        self._env = {**os.environ, "HOME": str(self._home), "GODWIT_PATH": os.environ.get("PATH", os.defpath)}
        self._saved = self._open_home()
        self._saving: tuple[int, Saved] | None = None
        self._told_stays = self._told_unused = False
        self._save_at = time.monotonic() + self._interval_s
        self._terminals = terminals.Terminals(self._work, self._env)
        self._use = use.Use(spec["idle_after_s"], os.environ.get("CUDA_VISIBLE_DEVICES", ""), time.monotonic())

    @property
    def _work(self) -> Path:
        work = self._home / "work"
        return work if work.is_dir() else self._home

    def run(self) -> int:
        """Serve until told to end; returns the exit code."""
        wakes, woken = socket.socketpair()
        for end in (wakes, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        stop: list[int] = []
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        write_whole(self._run / "saver.pid", str(os.getpid()))
        beside = subprocess.Popen(
            ["sh", str(self._folder / "beside.sh")], cwd=self._work, env=self._env, start_new_session=True
        )
        with _listening() as listener:
            while not stop:
                ready, _, _ = select.select([listener, wakes, *self._terminals.watched()], [], [], LOOK_S)
                with contextlib.suppress(BlockingIOError):
                    wakes.recv(4096)
                if listener in ready:
                    self._terminals.open(listener.accept()[0])
                self._terminals.look(ready)
                beside.poll()
                self._keep()
                self._tell_use()
        self._end(beside)
        return ENDED_BY_SIGTERM

    def _open_home(self) -> Saved:
        """The home as it was saved, or a new one with the workdir in it; once for each attempt."""
        entry = os.environ.get("GODWIT_RESTORED_CHECKPOINT")
        if entry:
            home.restore(Path(entry), self._home)
            return Saved(int(entry.rpartition("-")[2]), Path(entry), home.look(self._home))
        self._home.mkdir(mode=0o700, exist_ok=True)
        workdir = self._folder / "workdir"
        if any(workdir.iterdir()):
            shutil.copytree(workdir, self._home / "work", symlinks=True)
        if not (self._home / ".profile").exists():
            (self._home / ".profile").write_text(PROFILE)
        return Saved(0, None, [])

    def _keep(self) -> None:
        """Save now and then, in a process of its own: terminals do not wait for it."""
        if self._saving is not None:
            pid, saved = self._saving
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._saving, self._save_at = None, time.monotonic() + self._interval_s
                self._take(saved, worked=os.waitstatus_to_exitcode(status) == 0)
            return
        if time.monotonic() < self._save_at:
            return
        self._save_at = time.monotonic() + self._interval_s
        fresh = self._next()
        if fresh is None:
            return
        child = os.fork()
        if child == 0:
            os._exit(self._child(fresh))
        self._saving = (child, fresh)

    def _child(self, saved: Saved) -> int:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 0 if self._write(saved) else 1

    def _next(self) -> Saved | None:
        """What is to be saved, or None when nothing changed."""
        found = home.look(self._home)
        if found == self._saved.found:
            return None
        step = self._saved.step + 1
        return Saved(step, self._checkpoints / f"checkpoint-{step}", found)

    def _write(self, saved: Saved) -> bool:
        if saved.entry is None:
            return False
        shutil.rmtree(saved.entry.with_name(saved.entry.name + ".tmp"), ignore_errors=True)
        try:
            home.save(self._home, saved.found, self._bytes_max, saved.entry, self._saved.entry, self._saved.found)
        except home.TooLarge as exc:
            _say(f"the home folder is NOT saved: {_too_large(exc.size_bytes, self._bytes_max)}")
        except OSError as exc:
            _say(f"the home folder could not be saved: {exc}; it is tried again")
        else:
            return True
        return False

    def _take(self, saved: Saved, *, worked: bool) -> None:
        if not worked or saved.entry is None:
            return
        note = {"step": saved.step, "entry": saved.entry.name, "stall_s": 0.0}
        (self._run / "saves").mkdir(exist_ok=True)
        write_whole(self._run / "saves" / f"{saved.step:012}.json", json.dumps(note))
        self._saved = saved
        for old in self._checkpoints.glob("checkpoint-*"):
            number = old.name.rpartition("-")[2]
            if number.isdecimal() and int(number) <= saved.step - KEPT:
                shutil.rmtree(old, ignore_errors=True)

    def _tell_use(self) -> None:
        idle_s = self._use.idle_s(time.monotonic(), time.time() - self._terminals.typed_at())
        if idle_s is None:
            self._tell_unused()
            return
        size = sum(one.size for one in home.look(self._home))
        if size > self._bytes_max:  # to give it back would lose what nobody saved: that is for its owner to say
            if not self._told_stays:
                _say(f"nobody uses this environment, and it stays: {_too_large(size, self._bytes_max)}")
            self._told_stays = True
            return
        write_whole(self._run / "idle", f"{idle_s:.0f}")

    def _tell_unused(self) -> None:
        """Once when nobody has used it for a while, and once when somebody does again."""
        is_unused = self._use.unused_s >= UNUSED_S
        if is_unused != self._told_unused:
            self._told_unused = is_unused
            write_whole(self._run / "idle", f"{self._use.unused_s if is_unused else 0.0:.0f}")

    def _end(self, beside: subprocess.Popen[bytes]) -> None:
        """Hang up, wait a moment for what runs to end, and save the home as it is then."""
        self._terminals.hang_up()
        if beside.poll() is None:
            os.killpg(beside.pid, signal.SIGTERM)
        until = time.monotonic() + min(HANG_UP_S, _grace_s(self._run / "notice") / 3)
        while time.monotonic() < until and (beside.poll() is None or self._terminals.any_left()):
            time.sleep(0.02)
        if self._saving is not None:
            pid, saved = self._saving
            self._take(saved, worked=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0)
        last = self._next()
        if last is not None:
            self._take(last, worked=self._write(last))


def _listening() -> socket.socket:
    """The socket of the desk, by its name in the folder: whole paths may be too long for sockets (unix(7))."""
    Path(terminals.SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(terminals.SOCKET)
    listener.listen(16)
    return listener


def _too_large(size_bytes: int, bytes_max: int) -> str:
    has, may = size_bytes / 1e9, bytes_max / 1e9
    return f"the home folder has {has:.1f} GB, and may have {may:g} GB; remove files, or ask for more with `home:`"


def _grace_s(notice: Path) -> float:
    try:
        return float(json.loads(notice.read_text())["grace_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _say(text: str) -> None:
    print(f"[godwit] {text}", flush=True)  # noqa: T201 - the attempt's log


def main() -> int:
    """Keep the desk of the folder named on the command line."""
    folder = Path(sys.argv[1])
    os.chdir(folder)
    return Desk(folder).run()
