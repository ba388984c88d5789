"""What agents cost one control plane process, and how long it takes to hear all of them when they come back at once.

`GODWIT_BENCH_AGENTS` says how many (5,000), `GODWIT_BENCH_DATABASE` on which PostgreSQL instead of SQLite. The client
shares the machine's cores; what is measured is the CPU time of the server's process, not how long anything took. Agents
wait for an answer before they count their five seconds, so that where cores are slow fewer heartbeats come than are
due: the goal is for those that are due.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, at_most
from benchmarks.many_agents import floor
from benchmarks.many_agents.crowd import Agent, Crowd, Tally
from benchmarks.many_agents.homes import Fleet

AGENTS, PLAIN_AGENTS = 5_000, 250
"""How many there are, and how many on a control plane that answers each by its route: more of them it cannot hear."""

HEARTBEAT_S, LEASE_S = 5.0, 30.0
SETTLE_S, WINDOW_S, HEARD_S = 20.0, 30.0, 120.0
CORE_GOAL_PERCENT, MEMORY_GOAL_MIB = 50.0, 1_000.0


@dataclass(frozen=True)
class Seen:
    """What a window showed: CPU as a share of one core, resident memory, and what the agents saw."""

    agents: int
    core_percent: float
    rss_mib: float
    heartbeats_per_s: float
    tally: Tally

    @property
    def ms_each(self) -> float:
        """Milliseconds of CPU for each heartbeat that was answered, everything that the process does included."""
        return 10.0 * self.core_percent / self.heartbeats_per_s

    def core_percent_at(self, heartbeats_per_s: float) -> float:
        """The share of a core at more heartbeats than came, if all that the process does grew with them."""
        return self.core_percent * max(1.0, heartbeats_per_s / (self.heartbeats_per_s or 1.0))

    def note(self) -> str:
        """What one must know of the window."""
        waits = sorted(self.tally.latencies_s) or [0.0]
        p99_ms = 1000.0 * waits[int(len(waits) * 0.99)]
        each = f"{self.ms_each:.2f} ms of CPU each, all included; " if self.tally.heartbeats else ""
        late = f"the client up to {1000.0 * self.tally.late_s:.0f} ms late itself"
        return f"{each}{self.agents:,} agents, p99 {p99_ms:.0f} ms, {self.tally.failed} failed, {late}"


def measure() -> Iterator[Figure]:
    """Before, with fewer agents, and after; then all agents restart at once, then the control plane does."""
    count, nothing_ms = int(os.environ.get("GODWIT_BENCH_AGENTS", AGENTS)), floor.cost_ms()
    yield Figure("agents: a request that does nothing", nothing_ms, "ms of CPU", None, "uvicorn alone, 400 a second")
    before = asyncio.run(_steady(_fleet(min(count, PLAIN_AGENTS), plain=True)))
    yield Figure("agents: heartbeats answered by their route", before.heartbeats_per_s, "/s", None, before.note())
    seen, agents, plane, lost = asyncio.run(_all(_fleet(count, plain=False)))
    core, memory = at_most(CORE_GOAL_PERCENT), at_most(MEMORY_GOAL_MIB)
    yield Figure("agents: heartbeats answered in groups", seen.heartbeats_per_s, "/s", None, seen.note())
    times = seen.ms_each / nothing_ms if seen.tally.heartbeats else 0.0
    told = "polls, observations, figures, planning and lists included"
    yield Figure("agents: a heartbeat, of requests that do nothing", times, "x", None, told)
    yield Figure("agents: CPU of the control plane", seen.core_percent, "% of a core", None, f"{count:,} agents")
    due_per_s = count / HEARTBEAT_S
    yield Figure(
        "agents: CPU, were all heartbeats that are due answered", seen.core_percent_at(due_per_s), "% of a core", core,
        f"{due_per_s:,.0f} a second",
    )  # fmt: skip
    yield Figure("agents: memory of the control plane", seen.rss_mib, "MiB", memory, f"{2 * count:,} connections")
    note = f"{lost} nodes were lost; {agents.note}"
    yield Figure("agents: all heard after all restarted", agents.after_s, "s", at_most(LEASE_S), note)
    note = f"and started again at once; {plane.note}"
    yield Figure("agents: all heard after it was killed", plane.after_s, "s", at_most(LEASE_S), note)


def _fleet(count: int, *, plain: bool) -> Fleet:
    folder = Path(tempfile.mkdtemp(prefix="gw-bench-"))
    return Fleet(folder, count, HEARTBEAT_S, os.environ.get("GODWIT_BENCH_DATABASE", ""), plain=plain)


@asynccontextmanager
async def _living(fleet: Fleet) -> AsyncIterator[Crowd]:
    """A control plane with all its agents alive; everything is ended and removed afterwards."""
    task: asyncio.Task[None] | None = None
    try:
        fleet.prepare()
        crowd = Crowd(fleet.machines, fleet.start(), fleet.join_token)
        crowd.have_joined(fleet.credential, HEARTBEAT_S, LEASE_S)
        task = asyncio.create_task(crowd.run(_spread))
        await asyncio.sleep(SETTLE_S)
        yield crowd
        if task.done():
            task.result()  # which raises: they live until they are cancelled
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        fleet.stop()
        fleet.remove()


async def _steady(fleet: Fleet) -> Seen:
    async with _living(fleet) as crowd:
        return await _window(fleet, crowd)


@dataclass(frozen=True)
class Return:
    """How long it took until all were heard again, of at most `HEARD_S`, and what was seen on the way."""

    after_s: float
    note: str


async def _all(fleet: Fleet) -> tuple[Seen, Return, Return, int]:
    async with _living(fleet) as crowd:
        seen = await _window(fleet, crowd)
        if not seen.tally.heartbeats:
            raise RuntimeError(f"no heartbeat was answered: {seen.tally.last_failure}\n{fleet.log()}")
        crowd.restart()
        agents = await _until_heard(crowd)
        fleet.stop(signal.SIGKILL)
        await asyncio.to_thread(fleet.start)
        plane = await _until_heard(crowd)
        lost = fleet.count("SELECT count(*) FROM events WHERE new = 'lost'")
        return seen, agents, plane, lost


async def _window(fleet: Fleet, crowd: Crowd) -> Seen:
    crowd.tally, before, began = Tally(), _cpu_s(fleet), time.monotonic()
    await asyncio.sleep(WINDOW_S)
    seconds, tally = time.monotonic() - began, crowd.tally
    percent = 100.0 * (_cpu_s(fleet) - before) / seconds
    return Seen(fleet.machines, percent, fleet.process.memory_info().rss / 2**20, tally.heartbeats / seconds, tally)


async def _until_heard(crowd: Crowd) -> Return:
    """Wait until each agent was answered at least once from now on."""
    crowd.tally, began = Tally(), time.monotonic()
    while (silent := sum(agent.heard_at < began for agent in crowd.agents)) and time.monotonic() < began + HEARD_S:
        await asyncio.sleep(0.05)
    tally = crowd.tally
    note = (
        f"{tally.failed} tries failed, {tally.put_off} were put off, the client up to {tally.late_s:.1f} s late itself"
    )
    if silent:
        note = f"{silent} were silent still: {tally.last_failure[:80]}; {note}"
    return Return(time.monotonic() - began, note)


def _cpu_s(fleet: Fleet) -> float:
    times = fleet.process.cpu_times()
    return float(times.user + times.system)


async def _spread(agent: Agent) -> None:
    await asyncio.sleep(agent.rng.uniform(0.0, agent.heartbeat_s))
