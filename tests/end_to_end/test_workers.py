"""Real workers over a real broker: whatever is killed, lost, doubled or late, each machine is bought exactly once."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from godwit.control_plane.executors.brokers import Broker
from godwit.control_plane.executors.over_celery import OverCelery
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.ids import IntentId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.nodes import NodeState

from tests import brokers, postgres
from tests.control_plane.world import spec
from tests.end_to_end import stubborn

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(540)]

DEADLINE_S = 150.0
"""For one condition, on a machine that is five times slower than it should be."""


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


class Fleet:
    """One control plane and workers as processes, on a cloud that the test serves itself."""

    def __init__(self, home: Path, database_url: str, broker_url: str) -> None:
        self.home, self.db = home, Database(open_engine(database_url))
        self._env = {**os.environ, "GODWIT_BROKER_URL": broker_url, "GODWIT_DATABASE_URL": database_url}
        self.processes: list[subprocess.Popen[bytes]] = []
        (home / "config.yaml").write_text(f"providers:\n  - {{kind: simulated, name: {stubborn.NAME}}}\n")
        self._start("serve", "plane.log")
        self.url = ""

    def _start(self, verb: str, log: str, *more: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "godwit.control_plane", verb, "--home", str(self.home), *more]
        with (self.home / log).open("ab") as out:
            process = subprocess.Popen(command, env=self._env, stderr=out, stdout=out)
        self.processes.append(process)
        return process

    def serves(self) -> str | None:
        assert self.processes[0].poll() is None, self.said()
        path = self.home / "port"
        if not path.exists():
            return None
        url = f"http://127.0.0.1:{path.read_text().strip()}"
        try:
            return url if httpx.get(f"{url}/v1/version", timeout=5.0).is_success else None
        except httpx.TransportError:
            return None

    def worker(self) -> "subprocess.Popen[bytes]":
        return self._start("work", "workers.log", "--concurrency", "4")

    def submit(self, name: str) -> None:
        token = (self.home / "token").read_text().strip()
        job = spec(name, gpus="H100:1").model_dump(exclude_defaults=True)
        headers = {"Authorization": f"Bearer {token}"}
        httpx.post(f"{self.url}/v1/jobs", json=job, headers=headers, timeout=30.0).raise_for_status()

    def launches(self) -> list[Intent]:
        with self.db.read() as conn:
            nodes = queries.nodes(conn, final=True)
            return [one for node in nodes for one in queries.intents_of(conn, node.id, IntentKind.LAUNCH_NODE)]

    def all_are_launched(self, count: int) -> bool:
        launches = self.launches()
        return len(launches) == count and all(one.state is IntentState.DONE for one in launches)

    def identity(self) -> str:
        with self.db.read() as conn:
            return str(queries.meta(conn, "identity"))

    def said(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.home.glob("*.log")))

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.db.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def cloud(home: Path) -> Iterator[tuple[stubborn.Stubborn, stubborn.Slow]]:
    with stubborn.serving(home) as served:
        yield served


@pytest.fixture
def over_redis(home: Path, cloud: Any) -> Iterator[tuple[Fleet, str, Any]]:
    with postgres.serving() as server, server.copy() as database_url, brokers.redis() as (url, client):
        fleet = Fleet(home, database_url, url)
        try:
            fleet.url = str(until(fleet.serves, "it serves"))
            yield fleet, url, client
        finally:
            fleet.end()


def test_a_worker_is_killed_the_broker_emptied_messages_doubled_and_late_and_each_launch_happens_once(
    over_redis: tuple[Fleet, str, Any], cloud: tuple[stubborn.Stubborn, stubborn.Slow]
) -> None:
    (fleet, url, redis), (sold, api) = over_redis, cloud
    api.before_s, api.after_s = 2.0, 2.0
    first = fleet.worker()
    fleet.submit("one")
    until(lambda: sold.calls, "a machine was sold, and the worker waits to be told")
    fleet.submit("two")
    until(lambda: api.begun == 2, "and another launch is under way")
    first.send_signal(signal.SIGKILL)
    redis.flushall()
    fleet.submit("three")
    second = fleet.worker()
    launches = until(lambda: (found := fleet.launches()) and len(found) == 3 and found, "three are owed")
    courier = OverCelery(Broker(url), fleet.identity())
    for _ in range(5):
        for launch in launches:
            courier.send(launch.id)
        time.sleep(0.2)
    until(lambda: fleet.all_are_launched(3), "all are launched: " + fleet.said())
    courier.send(IntentId("intent-that-nobody-knows"))
    for launch in launches:  # late
        courier.send(launch.id)
    until(lambda: courier.waiting() == 0, "a worker took what was late")
    assert Counter(sold.calls) == Counter({launch.id: 1 for launch in launches})
    with fleet.db.read() as conn:
        nodes = queries.nodes(conn)
    assert sorted(str(node.instance_id) for node in nodes) == sorted(sold.live())
    assert all(node.state is not NodeState.REQUESTED for node in nodes)
    assert "not-for-logs" not in fleet.said()
    second.terminate()
    assert second.wait(DEADLINE_S) == 0, fleet.said()
