"""Gateways of a whole system as processes, and users who count what they are answered through them."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import randrange

GATEWAY_S = 60.0
"""How long a gateway may take to listen, on a machine that is busy."""

PATIENCE_S = 90.0
"""How long a user waits for an answer, and the last of them when all are to leave."""


class Users:
    """Some who ask for one thing after the other, and count what they are answered.

    With several `urls` each user has a first one, and asks the next one once where that fails. `answered` counts
    bodies, and `failed: why` of those who got none at all; `first` why the first try of a request failed.
    """

    def __init__(self, *urls: str, key: str = "", count: int = 2, pause_s: float = 0.1) -> None:
        self.answered: Counter[str] = Counter()
        self.first: Counter[str] = Counter()
        self._urls, self._pause_s = urls, pause_s
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=(number,), daemon=True) for number in range(count)]

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_about: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    @property
    def requests(self) -> int:
        """How many requests were made so far, each with its retry counted once."""
        return self.answered.total()

    @property
    def failed(self) -> dict[str, int]:
        """Why users were left without an answer, and how often."""
        return {said: times for said, times in self.answered.items() if said.startswith("failed: ")}

    def _live(self, number: int) -> None:
        order = self._urls[number % len(self._urls) :] + self._urls[: number % len(self._urls)]
        while not self._leaving.wait(self._pause_s):
            said = self._ask(order[0])
            if said.startswith("failed: "):
                self.first[said] += 1
                said = self._ask(order[1]) if len(order) > 1 else said
            self.answered[said] += 1

    def _ask(self, url: str) -> str:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=self._headers), timeout=PATIENCE_S) as got:
                return str(got.read().decode())
        except OSError as exc:  # HTTP errors are such, too
            return f"failed: {exc}"
        except Exception as exc:  # noqa: BLE001 - a user's thread must not end: whatever it is, it was no answer
            return f"failed: {type(exc).__name__}: {exc}"


def kept_port() -> int:
    """A port at which one may come back: none that the system gives to whoever asks for any (32768 on)."""
    for _ in range(100):
        port = randrange(11_000, 19_000)
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no port from 11000 to 19000 was found free: see what listens there")


class Gateway:
    """A gateway's process of the control plane in `home`; it keeps its port and its copy of the routes."""

    def __init__(self, home: Path, environment: Mapping[str, str], folder: Path, name: str = "gateway") -> None:
        held = json.loads((home / "control_plane.json").read_text())
        token = (home / "token").read_text().strip()
        self._environment = {**environment, "GODWIT_URL": held["url"], "GODWIT_TOKEN": token}
        self._log, self._cache, self._port = folder / f"{name}.log", folder / f"{name}.routes", kept_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> "Gateway":
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "godwit.gateway", "--port", str(self._port), "--no-access-log"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--cache", str(self._cache)], env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + GATEWAY_S
        while (found := re.search(r"at (http://\S+):(\d+)\n", self._log.read_text())) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway does not listen:\n{self._log.read_text()}")
            time.sleep(0.05)
        self.url, self._port = f"{found[1]}:{found[2]}", int(found[2])
        return self

    def kill(self) -> None:
        """End it without a word."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(GATEWAY_S)

    def stop(self) -> None:
        """Ask it to leave; what it has in flight ends first."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(GATEWAY_S)


@contextmanager
def gateways(home: Path, environment: Mapping[str, str], folder: Path, count: int = 1) -> Iterator[Sequence[Gateway]]:
    """So many gateways that run; they end here."""
    running = [Gateway(home, environment, folder, f"gateway-{number}").start() for number in range(count)]
    try:
        yield running
    finally:
        for one in running:
            one.stop()
