"""The agent's end of terminals: it dials the control plane, asks the desk, and carries bytes between the two.

A terminal is told of once in effect: one that is known is left alone, and the control plane takes one agent for each.
Nothing is kept here: when the agent ends, so do its connections, and the desk hangs up.
"""

import fcntl
import json
import os
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import structlog
from godwit.agents.dev import terminals
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.wire.dev import CHUNK_BYTES, OpenTerminal
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

log = structlog.get_logger()

DESK_S = 20.0
"""How long the desk may take to listen: a large home is unpacked before that, and whoever attaches tries again."""

REMEMBERED = 1_000
"""Terminals that are known after they were told of, so that a lost answer opens none twice."""


class Terminals:
    """Those of one node. `url` is the control plane's."""

    def __init__(self, node_dir: Path, url: str, credential: str, tls: ssl.SSLContext | None = None) -> None:
        self._node_dir, self._tls = node_dir, tls
        self._url = url.replace("http", "ws", 1).rstrip("/")
        self.renew(credential)
        self._known: dict[str, None] = {}

    def renew(self, credential: str) -> None:
        """Dial with this credential from now on."""
        self._headers = {"Authorization": f"Bearer {credential}"}

    def show(self, tls: ssl.SSLContext | None) -> None:
        """Dial with this certificate from now on."""
        self._tls = tls

    def known(self) -> list[str]:
        """The newest that were heard of: the control plane need not name them again."""
        return list(self._known)[-256:]

    def take(self, orders: Sequence[OpenTerminal]) -> None:
        """Open those that are new, each in a thread of its own."""
        for order in orders:
            if order.intent_id in self._known:
                continue
            self._known[order.intent_id] = None
            while len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
            threading.Thread(target=self._run, args=(order,), name=order.intent_id, daemon=True).start()

    def _run(self, order: OpenTerminal) -> None:
        try:
            with connect(
                f"{self._url}/v1/agent/terminals/{order.intent_id}", additional_headers=self._headers,
                compression=None, max_size=4 * CHUNK_BYTES, max_queue=4, proxy=_proxy(self._url), ssl=self._tls,
                ping_timeout=None,  # a line that waits answers no pings; the control plane ends what is dead
            ) as line:  # fmt: skip
                self._join(order, line)
        except (OSError, WebSocketException) as exc:
            log.info("a terminal ended", terminal=order.intent_id, reason=f"{type(exc).__name__}: {exc}")

    def _join(self, order: OpenTerminal, line: ClientConnection) -> None:
        folder = AttemptFolder(self._node_dir, order.attempt_id).root
        try:
            desk = _desk(folder)
        except OSError as exc:
            line.send(json.dumps({"refused": f"the environment does not answer yet ({exc}); try again"}))
            return
        with desk:
            desk.sendall(order.wanted.model_dump_json().encode() + b"\n")
            said, ends, _, _ = socket.recv_fds(desk, 65_536, 2)
            if len(ends) != 2:
                line.send(said.decode("utf-8", "replace") or json.dumps({"refused": "the environment is ending"}))
                return
            Joined(line, desk, ends[0], ends[1], tty=order.wanted.tty).run()


class Joined:
    """A line to the control plane joined to a program: `into` is written to, `out` is read from."""

    def __init__(self, line: ClientConnection, desk: socket.socket, into: int, out: int, *, tty: bool) -> None:
        self._line, self._desk, self._out, self._tty = line, desk, out, tty
        self._into: int | None = into

    def run(self) -> None:
        """Carry until the program ends or the line is cut; the program's exit code is the last word."""
        listening = threading.Thread(target=self._inwards, daemon=True)
        listening.start()
        try:
            while data := _read(self._out):
                self._line.send(data)  # waits while the other end does: then so does the program
            self._line.send(_last_word(self._desk))
        finally:
            _shut(self._desk)  # the desk hangs up, if the program still runs
            self._line.close()
            listening.join(5.0)
            self._close_into()
            os.close(self._out)

    def _inwards(self) -> None:
        try:
            for message in self._line:
                if isinstance(message, bytes):
                    self._write(message)
                else:
                    self._told(json.loads(message))
        except (ValueError, KeyError, TypeError, WebSocketException) as exc:
            log.info("a terminal's line ended", reason=f"{type(exc).__name__}: {exc}")
        finally:
            _shut(self._desk)  # a hang-up, unless the program ended before

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view and self._into is not None:
                view = view[os.write(self._into, view) :]
        except OSError:
            self._close_into()  # the program reads no more; what it writes still counts

    def _told(self, said: dict[str, Any]) -> None:
        if "rows" in said and self._tty and self._into is not None:
            size = struct.pack("HHHH", int(said["rows"]), int(said["cols"]), 0, 0)
            fcntl.ioctl(self._into, termios.TIOCSWINSZ, size)
        if said.get("end") and not self._tty:
            self._close_into()

    def _close_into(self) -> None:
        if self._into is not None:
            into, self._into = self._into, None
            os.close(into)


def _desk(folder: Path) -> socket.socket:
    deadline = time.monotonic() + DESK_S
    while True:
        try:
            return terminals.connect(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _read(out: int) -> bytes:
    """What is there to be read, as much as one message holds; nothing at the end."""
    data = b""
    try:
        # A pseudo-terminal gives 4 KB at a time, and a message costs the same whatever it holds.
        while not data or (len(data) < CHUNK_BYTES and select.select([out], [], [], 0)[0]):
            more = os.read(out, CHUNK_BYTES - len(data))
            if not more:
                break
            data += more
    except OSError:
        return data  # EIO: the last program at the pseudo-terminal closed it (pty(7)); the next read says so again
    return data


def _last_word(desk: socket.socket) -> str:
    """`{"exit": code}` from the desk. A program may close its output and live on: then this waits for its end."""
    said = b""
    while more := desk.recv(4096):
        said += more
    return said.decode().strip() or json.dumps({"refused": "the environment ended"})


def _shut(desk: socket.socket) -> None:
    try:
        desk.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


def _proxy(url: str) -> Literal[True] | None:
    """The environment's proxy is for the way out; loopback has none."""
    return None if url.partition("://")[2].startswith(("127.", "localhost")) else True
