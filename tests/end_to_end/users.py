"""Gateways of a whole system as processes, and users who count what they are answered through them."""

import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.conftest import System, wait_for


class Users:
    """Two who ask for one thing after the other through a gateway, and count what they are answered."""

    def __init__(self, url: str, key: str) -> None:
        self.answered: Counter[str] = Counter()
        self._url, self._key = url, key
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]

    def __enter__(self) -> "Users":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_about: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(90)

    def _ask(self) -> None:
        asked = urllib.request.Request(self._url, headers={"Authorization": f"Bearer {self._key}"})
        while not self._leaving.wait(0.1):
            try:
                with urllib.request.urlopen(asked, timeout=90) as answer:
                    self.answered[answer.read().decode()] += 1
            except OSError as exc:
                self.answered[f"failed: {exc}"] += 1


@contextmanager
def gateway(system: System, folder: Path) -> Iterator[str]:
    """A gateway of this control plane; yields its address."""
    held = json.loads((system.home / "control_plane.json").read_text())
    token = (system.home / "token").read_text().strip()
    said = folder / "gateway.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "godwit.gateway", "--port", "0", "--no-access-log"],
            env={**system.environment, "GODWIT_URL": held["url"], "GODWIT_TOKEN": token}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        found = wait_for("the gateway", 60, lambda: re.search(r"at (http://\S+)", said.read_text()))
        yield found[1]
    finally:
        process.terminate()
        process.wait(60)
