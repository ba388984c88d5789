"""Terminals as the desk opens them: who asks gets the end of a pseudo-terminal or of pipes, and then the exit code.

One connection to `run/desk.sock` for each. The agent sends a line of JSON (`argv`, `tty`, `rows`, `cols`, `term`), gets
one byte with two descriptors (to write to, to read from; SCM_RIGHTS), and at the end `{"exit": code}`. A connection
that closes before is a hang-up. So bytes never pass the desk, and programs end with their environment, below the guard.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.agents.confinement import owner

SOCKET = "run/desk.sock"

REQUEST_BYTES_MAX = 1 << 20
REQUEST_S = 5.0
"""How long the agent may take to say what it wants; its line is written at once."""

TERMINALS_MAX = 32
"""Open at once in one environment."""


@dataclass
class Terminal:
    """A program with its connection; `name` is that of its pseudo-terminal, "" of pipes."""

    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    name: str
    opened_at: float


class Terminals:
    """The open ones. Programs start in `where` with `env`."""

    def __init__(self, where: Path, env: Mapping[str, str]) -> None:
        self._where, self._env = where, env
        self._open: list[Terminal] = []
        self._last_typed_at = time.time()

    def watched(self) -> list[socket.socket]:
        """Connections of which the end is to be heard."""
        return [one.connection for one in self._open]

    def open(self, connection: socket.socket) -> None:
        """Start what the agent asks for; what cannot be started is answered with why."""
        connection.settimeout(REQUEST_S)
        try:
            wanted = json.loads(_line(connection))
            if len(self._open) >= TERMINALS_MAX:
                raise OSError(errno.EAGAIN, f"{TERMINALS_MAX} terminals are open here; close one")
            terminal, ends = self._start(wanted, connection)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            _answer(connection, {"refused": str(exc)})
            connection.close()
            return
        try:
            socket.send_fds(connection, [b"+"], ends)
        except OSError:
            _hang_up(terminal)  # the agent went meanwhile
        for end in set(ends):
            os.close(end)
        self._open.append(terminal)

    def _start(self, wanted: dict[str, Any], connection: socket.socket) -> tuple[Terminal, list[int]]:
        env = {**self._env, "TERM": wanted["term"]}
        argv = wanted["argv"] or [_shell(env), "-l"]
        if not wanted["tty"]:
            process = subprocess.Popen(
                argv, cwd=self._where, env=env, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            assert process.stdin and process.stdout  # noqa: PT018 - both were asked for
            ends = [os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())]
            process.stdin.close()
            process.stdout.close()
            return Terminal(process, connection, "", time.time()), ends
        ours, theirs = os.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", wanted["rows"], wanted["cols"], 0, 0))
            process = subprocess.Popen(
                argv, cwd=self._where, env=env, start_new_session=True, stdin=theirs, stdout=theirs, stderr=theirs,
                # The desk has one thread, so that a child may do this before it becomes the program.
                preexec_fn=_take_terminal,  # noqa: PLW1509
            )  # fmt: skip
            return Terminal(process, connection, os.ttyname(theirs), time.time()), [ours, ours]
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)

    def look(self, ready: list[Any]) -> None:
        """Tell the ends of programs, and hang up where the agent did."""
        for one in list(self._open):
            code = one.process.poll()
            self._note_typing(one)
            if code is None and one.connection in ready:
                _hang_up(one)  # it never says more than its first line: this is its end
                self._close(one)
            elif code is not None:
                _answer(one.connection, {"exit": code if code >= 0 else 128 - code})
                self._close(one)

    def typed_at(self) -> float:
        """When somebody last opened a terminal or typed in one (seconds since the epoch), as far as is known."""
        return self._last_typed_at

    def hang_up(self) -> None:
        """As when the line is cut: all that runs in terminals hears SIGHUP."""
        for one in self._open:
            _hang_up(one)

    def any_left(self) -> bool:
        """Whether something still runs; ends are told meanwhile."""
        self.look([])
        return bool(self._open)

    def _note_typing(self, one: Terminal) -> None:
        typed_at = one.opened_at
        if one.name:
            with contextlib.suppress(OSError):
                typed_at = max(typed_at, Path(one.name).stat().st_atime)  # read from: that was typed
        self._last_typed_at = max(self._last_typed_at, typed_at)

    def _close(self, one: Terminal) -> None:
        one.connection.close()
        self._open.remove(one)


def connect(folder: Path) -> socket.socket:
    """The agent's way to the desk in this folder; raises `OSError` while it does not listen."""
    way = socket.socket(socket.AF_UNIX)
    held = os.open(folder, os.O_PATH)
    try:
        # By way of a descriptor: sockets' paths have 107 characters at most (unix(7)).
        with owner.acting(folder / "run"):
            way.connect(f"/proc/self/fd/{held}/{SOCKET}")
    except BaseException:
        way.close()
        raise
    finally:
        os.close(held)
    return way


def _line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(65_536)
        if not more or len(data) > REQUEST_BYTES_MAX:
            raise ValueError("the request for a terminal has no end")
        data += more
    return data


def _answer(connection: socket.socket, said: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # who asked went away
        connection.sendall(json.dumps(said).encode() + b"\n")


def _hang_up(one: Terminal) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(one.process.pid, signal.SIGHUP)
        os.killpg(one.process.pid, signal.SIGCONT)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _shell(env: Mapping[str, str]) -> str:
    known = (env.get("SHELL"), shutil.which("bash"), "/bin/sh")
    return next(shell for shell in known if shell and os.access(shell, os.X_OK))
