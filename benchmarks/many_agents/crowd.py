"""Thousands of agents in one process: each joins, reports, and holds its poll for commands, as the real one does.

What they say is what real ones say: attempts that were ordered run at once, heads tell a step now and then, every node
tells how hard its GPUs work each ten seconds. Their pauses are the real agent's own (`godwit.agents.pauses`).
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from godwit.agents import pauses

from benchmarks.many_agents import seeding
from benchmarks.many_agents.line import Line, Refused

LOADS_EVERY_S, STEPS_EVERY_S = 10.0, 30.0
"""How often a node tells of its GPUs, as the agent does, and how often a program tells that it went on."""

POLL_S, ANSWER_S = 20.0, 30.0
TICK_S = 0.1
"""How often it is looked how late this process itself is: what it waits for its own turn is nobody else's latency."""

JOINS_AT_ONCE = 64
LATENCIES_MAX = 200_000


@dataclass
class Tally:
    """What all of them saw since it was last emptied."""

    heartbeats: int = 0
    failed: int = 0
    put_off: int = 0
    dismissed: int = 0
    commands: int = 0
    late_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    last_failure: str = ""


@dataclass
class Agent:
    """One of them."""

    number: int
    rng: random.Random
    port: int
    credential: str = ""
    heartbeat_s: float = 1.0
    lease_s: float = 15.0
    heard_at: float = 0.0
    seq: int = 0
    live: dict[str, int] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)
    owed: list[dict[str, Any]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    urgent: asyncio.Event = field(default_factory=asyncio.Event)
    load_at: float = 0.0
    step_at: float = 0.0

    @property
    def agent_id(self) -> str:
        """Its own name."""
        return seeding.agent_id(self.number)


class Crowd:
    """All of them. `join`, then `run` for as long as they should live; `tally` is what they see."""

    def __init__(self, count: int, port: int, token_of: Callable[[int], str]) -> None:
        rng = random.Random(7)
        self.agents = [Agent(number, random.Random(rng.getrandbits(64)), port) for number in range(count)]
        self.tally = Tally()
        self._token_of = token_of
        self._lines: list[Line] = []

    def have_joined(self, credential_of: Callable[[int], str], heartbeat_s: float, lease_s: float) -> None:
        """All joined long ago, and run what `seeding` wrote down."""
        for agent in self.agents:
            agent.credential, agent.heartbeat_s, agent.lease_s = credential_of(agent.number), heartbeat_s, lease_s
            attempt_id = seeding.attempt_of(agent.number, len(self.agents))
            if attempt_id is not None:
                agent.live = {attempt_id: 1}
                agent.heads = {attempt_id} if agent.number % seeding.GANG == 0 else set()

    async def join(self) -> float:
        """Let all join, some at a time; returns the seconds that it took."""
        began, turns = time.monotonic(), asyncio.Semaphore(JOINS_AT_ONCE)

        async def one(agent: Agent) -> None:
            async with turns:
                await self._join(agent)

        await asyncio.gather(*map(one, self.agents))
        return time.monotonic() - began

    async def _join(self, agent: Agent) -> None:
        facts = [{"index": i, "uuid": f"GPU-{agent.number:x}-{i}", "model": "H100-SXM", "memory_gib": 80.0}
                 for i in range(seeding.GPUS)]  # fmt: skip
        body = {"agent_id": agent.agent_id, "hostname": "bench", "agent_version": "bench", "cpus": 208,
                "address": seeding.address(agent.number),
                "memory_gib": 1800.0, "gpus": facts}  # fmt: skip
        line = Line(agent.port)
        for tried in range(1, 30):
            try:
                reply = json.loads(
                    await line.ask("/v1/agent/join", self._token_of(agent.number), json.dumps(body).encode(), ANSWER_S)
                )
                break
            except (OSError, TimeoutError, Refused):
                if tried == 29:
                    raise
                await asyncio.sleep(pauses.again_s(tried, 5.0, agent.rng))
        line.close()
        agent.credential, agent.heartbeat_s, agent.lease_s = reply["credential"], reply["heartbeat_s"], reply["lease_s"]

    def restart(self) -> None:
        """All of them at once hang up, and come back as new processes do: each begins with a heartbeat."""
        for line in self._lines:
            line.close()
        for agent in self.agents:
            agent.urgent.set()

    async def run(self, start: Callable[[Agent], Awaitable[None]]) -> None:
        """Live until cancelled; each begins when `start` of it returns. A new process of each: nothing is connected."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._look_at_the_clock())
                for agent in self.agents:
                    tasks.create_task(self._live(agent, start))
        except* asyncio.CancelledError:
            raise

    async def _look_at_the_clock(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.tally.late_s = max(self.tally.late_s, time.monotonic() - began - TICK_S)

    async def _live(self, agent: Agent, start: Callable[[Agent], Awaitable[None]]) -> None:
        await start(agent)
        beats, polls = Line(agent.port), Line(agent.port)
        self._lines += (beats, polls)
        try:
            async with asyncio.TaskGroup() as tasks:
                leased = asyncio.Event()
                tasks.create_task(self._beat(agent, beats, leased))
                tasks.create_task(self._poll(agent, polls, leased))
        finally:
            beats.close()
            polls.close()

    async def _beat(self, agent: Agent, line: Line, leased: asyncio.Event) -> None:
        failed, is_first = 0, True
        while True:
            agent.urgent.clear()
            began, body, patience_s = time.monotonic(), _heartbeat(agent), pauses.patience_s(agent.lease_s)
            try:
                answer = json.loads(await line.ask("/v1/agent/heartbeat", agent.credential, body, patience_s))
            except (OSError, TimeoutError, Refused) as exc:
                failed += 1
                self._missed(exc)
                most_s = pauses.longest_s(agent.heartbeat_s, agent.lease_s)
                await asyncio.sleep(pauses.again_s(failed, most_s, agent.rng, getattr(exc, "after_s", 0.0)))
                is_first = True
                continue
            failed = 0
            self._answered(agent, answer, began)
            leased.set()
            pause_s = pauses.next_beat_s(agent.heartbeat_s, agent.rng, is_first=is_first)
            is_first = False
            try:
                async with asyncio.timeout(pause_s):
                    await agent.urgent.wait()
            except TimeoutError:
                pass

    def _answered(self, agent: Agent, answer: dict[str, Any], began: float) -> None:
        agent.heard_at = time.monotonic()
        agent.credential = answer.get("credential") or agent.credential
        agent.owed = [said for said in agent.owed if said["seq"] > answer["acknowledged_seq"]]
        for attempt_id in answer["fenced"]:
            agent.live.pop(attempt_id, None)
        self.tally.heartbeats += 1
        if len(self.tally.latencies_s) < LATENCIES_MAX:
            self.tally.latencies_s.append(agent.heard_at - began)

    def _missed(self, exc: Exception) -> None:
        self.tally.failed += 1
        if isinstance(exc, Refused):
            self.tally.put_off += exc.status == 503
            self.tally.dismissed += exc.status in {401, 403, 410}
        self.tally.last_failure = f"{type(exc).__name__}: {exc}"

    async def _poll(self, agent: Agent, line: Line, leased: asyncio.Event) -> None:
        await leased.wait()
        failed = 0
        while True:
            known = sorted(agent.taken & {said.get("intent_id", "") for said in agent.owed})
            body = json.dumps({"known": known, "wait_s": POLL_S}).encode()
            try:
                answer = json.loads(await line.ask("/v1/agent/commands", agent.credential, body, POLL_S + 10.0))
            except (OSError, TimeoutError, Refused) as exc:
                failed += 1
                most_s = pauses.longest_s(agent.heartbeat_s, agent.lease_s)
                await asyncio.sleep(pauses.again_s(failed, most_s, agent.rng, getattr(exc, "after_s", 0.0)))
                continue
            failed = 0
            for command in answer["commands"]:
                self.tally.commands += 1
                _take(agent, command)
            if answer["commands"]:
                agent.urgent.set()
                await asyncio.sleep(0.25)


def _take(agent: Agent, command: dict[str, Any]) -> None:
    if command["intent_id"] in agent.taken:
        return
    agent.taken.add(command["intent_id"])
    _say(agent, "command-done", intent_id=command["intent_id"], accepted=True)
    if command["type"] == "start-attempt":
        agent.live[command["attempt_id"]] = command["epoch"]
        if command["rank"] == 0:
            agent.heads.add(command["attempt_id"])
            _say(agent, "attempt-running", attempt_id=command["attempt_id"], epoch=command["epoch"])


def _say(agent: Agent, kind: str, **fields: Any) -> None:
    agent.seq += 1
    agent.owed.append({"type": kind, "seq": agent.seq, **fields})


def _heartbeat(agent: Agent) -> bytes:
    now = time.monotonic()
    said: dict[str, Any] = {"agent_id": agent.agent_id, "sent_at": now}
    for attempt_id in agent.heads & agent.live.keys():
        if now - agent.step_at >= STEPS_EVERY_S * agent.rng.uniform(0.8, 1.2):
            agent.step_at = now
            _say(agent, "job-progress", attempt_id=attempt_id, epoch=agent.live[attempt_id], at=time.time(), step=1)
    said["attempts"] = [{"attempt_id": attempt_id, "epoch": epoch} for attempt_id, epoch in agent.live.items()]
    said["observations"] = agent.owed[:256]
    said["load"] = None
    if now - agent.load_at >= LOADS_EVERY_S:
        agent.load_at = now
        held = next(iter(agent.live), None)
        said["load"] = {"read_at": now, "gpus": [
            {"index": i, "busy_percent": 97.0, "memory_percent": 80.0, "power_watts": 650.0, "attempt_id": held}
            for i in range(seeding.GPUS)]}  # fmt: skip
    return json.dumps(said).encode()
