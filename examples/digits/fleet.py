"""The control plane that the demo shows: its command line, and its REST API for what is checked afterwards."""

import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

GODWIT = [sys.executable, "-m", "godwit.cli.main"]
STORY = re.compile(r"^\[godwit\]|^workdir |^  (buy|start)|^in all|^submitted|step \d+/\d+ loss|^accuracy")
"""Lines worth showing: godwit's own, the plan, and what train.py prints."""

WIDTH = 80
"""What a terminal shows of a line at the least."""

TOLD_EVERY_S = 15.0
"""So long nothing may be shown while something is waited for."""

PREFIX = re.compile(r"^\(\w+ pid=[^)]*\) ")
"""Ray's mark of the worker that printed a line."""

Found = TypeVar("Found")


class NotShown(Exception):
    """Something that the demo promises did not happen."""


class Fleet:
    """A control plane with a home of its own, apart from whatever else runs on this machine."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {key: value for key, value in os.environ.items() if key not in ("GODWIT_URL", "GODWIT_TOKEN")}
        self._environment = {**kept, "GODWIT_HOME": str(home)}
        self._http: httpx.Client | None = None

    def run(self, *words: str) -> None:
        """Run a command and wait for it; raises `NotShown` when it fails."""
        say(f"$ godwit {' '.join(words)}")
        ended = subprocess.run([*GODWIT, *words], env=self._environment, check=False)
        if ended.returncode != 0:
            raise NotShown(f"`godwit {' '.join(words)}` exited with {ended.returncode}")

    def start(self, *words: str, shown: re.Pattern[str] = STORY) -> "subprocess.Popen[str]":
        """Start a command and go on; its output is kept whole in `output`, and what tells the story is shown."""
        say(f"$ godwit {' '.join(words)}")
        process = subprocess.Popen(
            [*GODWIT, *words],
            env=self._environment,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._show, args=(process, shown), daemon=True).start()
        return process

    @property
    def output(self) -> Path:
        """Where the whole output of what was started is kept."""
        return self.home / "output.log"

    def _show(self, process: "subprocess.Popen[str]", shown: re.Pattern[str]) -> None:
        assert process.stdout is not None
        with self.output.open("w") as kept:
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                # Ray tells much of its own, most of all when a node dies; that is for the file.
                plain = PREFIX.sub("", line)
                if shown.search(plain):
                    tell(plain)

    def get(self, path: str, **params: str | int) -> Any:
        """Ask the REST API."""
        return self._answer(path, params).json()

    def text(self, path: str) -> str:
        """Ask the REST API for plain text."""
        return self._answer(path, {}).text

    def events(self, **of: str) -> list[dict[str, Any]]:
        """Every event of a job or a node, oldest first; a demo makes fewer than a page holds."""
        return list(self.get("/events", limit=1000, **of)["items"])

    def _answer(self, path: str, params: dict[str, str | int]) -> httpx.Response:
        if self._http is None:
            url = json.loads((self.home / "control_plane.json").read_text())["url"]
            headers = {"Authorization": f"Bearer {(self.home / 'token').read_text().strip()}"}
            self._http = httpx.Client(base_url=f"{url}/v1", headers=headers, trust_env=False, timeout=10)
        answer = self._http.get(path, params=params)
        answer.raise_for_status()
        return answer


_told_at = time.monotonic()


def tell(line: str) -> None:
    """Show a line, cut to the width of a terminal."""
    global _told_at  # noqa: PLW0603 - one process has one terminal
    _told_at = time.monotonic()
    told = textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    print("\n".join(told), flush=True)


def say(text: str) -> None:
    """A line of the demo's own."""
    global _told_at  # noqa: PLW0603 - as above
    _told_at = time.monotonic()
    print(f"\n\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def wait_for(what: str, within_s: float, look: Callable[[], Found | None], pause_s: float = 0.25) -> Found:
    """Look until there is something, and say now and then what is waited for; raises `NotShown` after `within_s`."""
    began = time.monotonic()
    deadline = began + within_s
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise NotShown(f"{what} did not come within {within_s:.0f} s")
        if time.monotonic() - _told_at > TOLD_EVERY_S:
            tell(f"... waiting for {what}, {time.monotonic() - began:.0f} s so far")
        time.sleep(pause_s)


def first_of(events: list[dict[str, Any]], kind: str, after: float, **wanted: Any) -> dict[str, Any]:
    """The first such event; raises `NotShown`. Clocks are one machine's, so they compare."""
    for event in events:
        fields = {**event["data"], "new": event["new"]}
        if event["kind"] == kind and event["at"] >= after and all(fields.get(k) == v for k, v in wanted.items()):
            return event
    raise NotShown(f"there is no event {kind} {wanted}")


def go_on_unheard() -> None:
    """When nobody reads our output any more (`make demo | head`), cleaning up must not fail for it."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
