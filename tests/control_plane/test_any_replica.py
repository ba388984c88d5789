"""A node may ask one control plane and people another: what is decided at one is heard at the other."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from godwit.control_plane import hints as topics
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.hints import Hints
from godwit.control_plane.leading import WRITE_S, Leading, Lease
from godwit.control_plane.services.terminals import Terminals
from godwit.control_plane.store import leases
from godwit.control_plane.store.database import Database, open_engine
from godwit.control_plane.wakes import Listener
from godwit.domain.wire.loads import GpuLoad, NodeLoad

from tests.control_plane.apis import BEARER, accounts_of, app_of, served
from tests.control_plane.world import World

DEADLINE_S = 120.0


@dataclass
class Pair:
    """`world` has the one at which `people` are and the loops run; `agents` reach the other, which has `hints`."""

    world: World
    people: str
    agents: str
    hints: Hints

    def post(self, path: str, credential: str, body: dict[str, Any]) -> Any:
        """What an agent says at its control plane."""
        headers = {"Authorization": f"Bearer {credential}"}
        answer = httpx.post(f"{self.agents}{path}", json=body, headers=headers, timeout=DEADLINE_S)
        return answer.raise_for_status().json()


def until_heard(speaks: Database, hears: Hints) -> None:
    """A listener needs a moment to connect."""
    deadline = time.monotonic() + DEADLINE_S
    while not hears.count("ready"):
        assert time.monotonic() < deadline, "hints do not travel"
        with speaks.write() as tx:
            tx.hint("ready")
        hears.wait("ready", 0, 0.2)


def state_of(world: World, url: str) -> State:
    return State(world.context, world.shelf, world.logs, accounts_of(world), dict, terminals=Terminals(url))


@pytest.fixture
def pair(postgres_urls: Iterator[str], tmp_path: Path) -> Iterator[Pair]:
    url, near, far = next(postgres_urls), Hints(), Hints()
    here = Database(open_engine(url), near.announce, "a")
    there = Database(open_engine(url), far.announce, "b")
    listeners = [Listener(url, "a", near.announce), Listener(url, "b", far.announce)]
    for listener in listeners:
        listener.start()
    until_heard(here, far)
    until_heard(there, near)
    world = World(here, near, tmp_path)
    app: FastAPI = app_of(world)
    other = World(there, far, tmp_path)
    other.context = replace(world.context, db=there, hints=far)
    app.state.godwit = state_of(world, "http://a")
    far_app = create_app(state_of(other, "http://b"))
    with served(app) as people, served(far_app) as agents:
        yield Pair(world, people, agents, far)
    for listener in listeners:
        listener.stop()
    here.close()
    there.close()


def test_a_command_reaches_a_node_that_waits_at_the_other(pair: Pair) -> None:
    world = pair.world
    job_id, (agent,) = world.run()
    topic = topics.commands_of(agent.node_id)
    seen = pair.hints.count(topic)
    with ThreadPoolExecutor(1) as pool:
        asked = {"known": [], "wait_s": 20}
        waiting = pool.submit(pair.post, "/v1/agent/commands", agent.credential, asked)
        httpx.post(f"{pair.people}/v1/jobs/{job_id}/cancel", headers=BEARER, timeout=DEADLINE_S).raise_for_status()
        world.plan()
        assert pair.hints.wait(topic, seen, DEADLINE_S), "the other one is told at once"
        (command,) = waiting.result(DEADLINE_S)["commands"]
    assert (command["type"], command["attempt_id"]) == ("stop-attempt", world.attempt(job_id).id)


def test_output_and_events_that_a_node_tells_one_are_followed_at_the_other(pair: Pair) -> None:
    world = pair.world
    job_id, (agent,) = world.run()
    attempt = world.attempt(job_id)
    followed: list[str] = []
    with httpx.stream(
        "GET", f"{pair.people}/v1/jobs/{job_id}/logs/stream", headers=BEARER, timeout=DEADLINE_S
    ) as stream:
        lines = stream.iter_lines()
        for number in range(3):
            text = f"line {number}\n"
            offset = number * len(text)
            chunk = {"attempt_id": attempt.id, "epoch": attempt.epoch, "offset": offset, "text": text}
            pair.post("/v1/agent/logs", agent.credential, chunk)
            data = next(line for line in lines if line.startswith("data: "))
            followed.append(json.loads(data.removeprefix("data: "))["text"])
    assert followed == ["line 0\n", "line 1\n", "line 2\n"]
    seen = world.hints.count(topics.EVENTS)
    said = agent.stopped(attempt.id, attempt.epoch, "succeeded").model_dump()
    beat = {"agent_id": agent.agent_id, "sent_at": world.clock.now(), "attempts": [], "observations": [said]}
    pair.post("/v1/agent/heartbeat", agent.credential, beat)
    assert world.hints.wait(topics.EVENTS, seen, DEADLINE_S)
    world.plan()
    assert world.job(job_id).state == "succeeded"


def test_one_that_does_not_lead_writes_down_what_its_own_nodes_told_of_gpus(embedded: World) -> None:
    world = embedded
    job_id, (agent,) = world.run()
    gpu = GpuLoad(index=0, attempt_id=world.attempt(job_id).id, busy_percent=50.0, memory_percent=1.0)
    agent.beat(load=NodeLoad(read_at=world.clock.now(), gpus=[gpu]))
    world.clock.advance(120.0)
    with world.db.write() as tx:
        leases.take(tx, "all", "another", None)
    leading = Leading(world.context, Lease(world.db, "waits", alone=False))
    leading._wrote_at -= WRITE_S
    leading._step()
    assert not leading.is_leading
    with world.db.read() as conn:
        assert conn.exec_driver_sql("SELECT job_id, busy_mean FROM gpu_minutes").all() == [(job_id, 50.0)]
