"""A person's end of a terminal in a dev environment: keys go there, what it shows comes here, and so does its end.

One thread reads the keyboard and notices when the window changes; the main one writes what comes. Both wait when the
other side does, so that nothing piles up.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence

from godwit.cli.client import ControlPlane, path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.dev import CHUNK_BYTES, TerminalOpened, TerminalWanted
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

LEAVE = b"\x1d"
"""Ctrl-]: leaves the environment running, as telnet does."""

LEFT = -1
"""What `run` answers when the person left."""


def run(control_plane: ControlPlane, name: str, argv: Sequence[str] = (), *, is_tty: bool = True) -> int:
    """Open a terminal in an environment, with a login shell or `argv`; returns its exit code, or `LEFT`.

    Raises `Failure` when it cannot be opened, or is cut.
    """
    cols, rows = shutil.get_terminal_size()
    wanted = TerminalWanted(
        argv=list(argv), tty=is_tty, rows=rows, cols=cols, term=os.environ.get("TERM") or "xterm-256color"
    )
    opened = control_plane.post(path_of("/v1/jobs", name, "terminals"), wanted, TerminalOpened)
    url = control_plane.url.replace("http", "ws", 1).rstrip("/")
    try:
        with connect(
            f"{url}/v1/terminals/{opened.id}", additional_headers={"Authorization": f"Bearer {opened.token}"},
            compression=None, max_size=4 * CHUNK_BYTES, max_queue=4, ping_timeout=None,
            proxy=None if url.startswith("ws://") else True,
        ) as line:  # fmt: skip
            return _Person(line, name, is_tty=is_tty).follow()
    except (OSError, WebSocketException) as exc:
        raise _cut(name, f"{type(exc).__name__}: {exc}") from exc


class _Person:
    def __init__(self, line: ClientConnection, name: str, *, is_tty: bool) -> None:
        self._line, self._name, self._is_tty = line, name, is_tty
        self._left = False
        self._changed, self._change = os.pipe()

    def follow(self) -> int:
        """Until the other end says how it ended, or the person leaves."""
        with _raw() if self._is_tty else contextlib.nullcontext():
            self._listen_to_window()
            threading.Thread(target=self._send, daemon=True).start()
            while True:
                try:
                    message = self._line.recv()
                except ConnectionClosed as exc:
                    if self._left:
                        return LEFT
                    raise _cut(self._name, "the line was cut") from exc
                if isinstance(message, bytes):
                    _write(message)
                    continue
                said = json.loads(message)
                if "refused" in said:
                    raise Failure(f"no terminal in {self._name}: {said['refused']}", ExitCode.CONFLICT)
                return int(said["exit"])

    def _listen_to_window(self) -> None:
        if self._is_tty and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGWINCH, lambda *_: os.write(self._change, b"!"))

    def _send(self) -> None:
        try:
            keyboard = sys.stdin.fileno()
            while True:
                ready, _, _ = select.select([keyboard, self._changed], [], [])
                if self._changed in ready:
                    os.read(self._changed, 64)
                    size = os.get_terminal_size(keyboard)
                    self._line.send(json.dumps({"rows": size.lines, "cols": size.columns}))
                if keyboard in ready and not self._typed(os.read(keyboard, CHUNK_BYTES)):
                    return
        except (OSError, ConnectionClosed):
            return  # the main thread hears of the end, and says it

    def _typed(self, data: bytes) -> bool:
        """Send what was typed; returns whether more may come."""
        if not data:
            self._line.send(json.dumps({"end": True}))
            return False
        if self._is_tty and LEAVE in data:
            self._left = True
            self._line.close()
            return False
        self._line.send(data)
        return True


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key goes there, also Ctrl-C; the terminal is put back in any case."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)  # what was typed ahead goes there too
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _write(data: bytes) -> None:
    out = sys.stdout.buffer
    out.write(data)
    out.flush()


def _cut(name: str, why: str) -> Failure:
    return Failure(f"the terminal in {name} is gone ({why}); `godwit attach {name}` opens another")
