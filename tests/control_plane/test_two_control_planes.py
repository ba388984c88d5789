"""Two control planes as processes, on one PostgreSQL and one home: both serve, one runs the loops, either may die."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from godwit.control_plane import embedded
from godwit.control_plane.leading import SHARD
from godwit.control_plane.store import leases
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.errors import Conflict

from tests.control_plane.world import spec

DEADLINE_S = 120.0
PAUSE_S = 0.05
"""Between two looks at a condition."""

STALL_S = 0.5
"""A look with its pause takes a tenth of this: so long this process was kept waiting, and so were the others."""

TAKEN_OVER_S = 10.0
"""From the death of the one that runs the loops to another's lease, with two seconds to spare: six without a renewal,
and a pause between looks before and after them (`leading.STILL_S`, `leading.RENEW_S`)."""

NAMES = ("a", "b")
JOB = spec().model_dump(exclude_defaults=True)


class Pair:
    """The two, by name, and the database that they share."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.db = home, Database(open_engine(url))
        self.processes = {name: self._start(name) for name in NAMES}
        self.urls = {name: f"http://127.0.0.1:{(home / f'port.{name}').read_text().strip()}" for name in NAMES}

    def _start(self, name: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "godwit.control_plane", "serve", "--home", str(self.home)]
        with (self.home / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, env={**os.environ, "GODWIT_REPLICA": name}, stderr=log)

    def client(self, name: str) -> httpx.Client:
        token = (self.home / "token").read_text().strip()
        return httpx.Client(base_url=self.urls[name], headers={"Authorization": f"Bearer {token}"}, timeout=30.0)

    def godwit(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command of who knows the home only."""
        environ = {key: value for key, value in os.environ.items() if key not in ("GODWIT_URL", "GODWIT_TOKEN")}
        command = [sys.executable, "-m", "godwit.cli.main", *words]
        return subprocess.run(
            command, env=environ | {"GODWIT_HOME": str(self.home)}, capture_output=True, text=True, check=False
        )

    def serves(self, name: str) -> bool:
        try:
            return httpx.get(f"{self.urls[name]}/v1/version", timeout=5.0).is_success
        except httpx.TransportError:
            assert self.processes[name].poll() is None, (self.home / f"{name}.log").read_text()
            return False

    def leader(self) -> tuple[str, int] | None:
        """Who runs the loops, and the generation of the lease."""
        with self.db.read() as conn:
            found = leases.find(conn, SHARD)
        return None if found is None else (found.holder.rpartition(".")[2], found.generation)

    def kill_leader(self) -> tuple[str, int]:
        """Kill the one that runs the loops; its name and generation."""
        name, generation = _until(self.leader, "one of them leads")
        self.processes[name].kill()
        return name, generation


def _until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(PAUSE_S)
    return value


def _waited_s(condition: Callable[[], Any], what: str) -> float:
    """How long a condition took, less what the machine stood still: a look that took longer counts as `STALL_S`."""
    counted_s, last = 0.0, time.monotonic()

    def look() -> Any:
        nonlocal counted_s, last
        value, now = condition(), time.monotonic()
        counted_s, last = counted_s + min(now - last, STALL_S), now
        return value

    began = last
    _until(look, what)
    print(f"{what}: after {time.monotonic() - began:.1f} s, of which {counted_s:.1f} s count")
    return counted_s


@pytest.fixture
def pair(postgres_database_of_module: str, tmp_path: Path) -> Iterator[Pair]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text(f"database: {postgres_database_of_module}\nproviders: []\n")
    for name in NAMES:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            (home / f"port.{name}").write_text(f"{listener.getsockname()[1]}\n")
    pair = Pair(home, postgres_database_of_module)
    yield pair
    for process in pair.processes.values():
        process.kill()
        process.wait()
    pair.db.close()


def test_both_serve_one_runs_the_loops_and_the_other_takes_over_when_it_is_killed(pair: Pair) -> None:
    for name in NAMES:
        _until(lambda name=name: pair.serves(name), f"{name} serves")  # type: ignore[misc]
    with pair.client("a") as http:
        job = http.post("/v1/jobs", json=JOB).json()
    with pair.client("b") as http:
        assert http.get(f"/v1/jobs/{job['id']}").json()["name"] == "digits"
    first, generation = pair.kill_leader()
    (second,) = set(NAMES) - {first}
    # On a machine that stood still, the one that was killed may have been replaced a moment before.
    took_s = _waited_s(
        lambda: (now := pair.leader()) and now[0] == second and now[1] >= generation, f"{second} takes over"
    )
    assert took_s < TAKEN_OVER_S
    asked = pair.godwit("ps", "-o", "json")
    assert asked.returncode == 0, "commands find the one that runs in the home"
    assert job["id"] in asked.stdout
    refused = pair.godwit("down")
    assert (refused.returncode, refused.stdout) == (5, "")
    assert f": {second} (process {pair.processes[second].pid}); nothing was stopped" in refused.stderr
    with pair.client(second) as http:
        assert http.post(f"/v1/jobs/{job['id']}/cancel").is_success
        _until(lambda: http.get(f"/v1/jobs/{job['id']}").json()["state"] == "cancelled", "its planner plans")


def test_several_on_sqlite_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODWIT_REPLICA", "a")
    with pytest.raises(Conflict, match="share a PostgreSQL only"):
        embedded.serve(tmp_path / "home")
