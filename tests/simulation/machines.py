"""Machines, agents and programs of the simulated world: the agent's real core on a model of processes and disks.

What survives what: a program's processes live until their guard, a stop, or a power cut ends them; the agent's journal
and credential are on the machine's disk and survive the agent, not the power cut.
"""

import random
import re
from collections.abc import Callable
from contextlib import suppress

from godwit.agents import leases
from godwit.agents.effects import (
    Check,
    Committed,
    Copy,
    Effect,
    Progress,
    Repair,
    Restored,
    Running,
    StartRuntime,
    Stopped,
    StopRuntime,
)
from godwit.agents.state import AgentState
from godwit.domain.drills import Drill
from godwit.domain.wire import agents as wire
from godwit.providers.machines import Machine

from tests.simulation.programs import Run, Surroundings
from tests.simulation.sickness import Sickness

CLUSTER_STARTS_S = 2.0
PEER_LOSS_SHOWS_S = 2.0
HEAD_LOSS_SHOWS_S = 1.0
STEPS_PER_CHECKPOINT = 5
AGENT_STARTS_S = 2.0
BEAT_EVERY_S, ASK_EVERY_S = 2.0, 5.0
"""How often an agent without news is heard, and how often it asks for commands without a hint that there are any."""


class DiskFull(Exception):
    """Nothing can be written on this machine."""


class SimMachine:
    """One machine with its agent. `call` sends a message to the control plane and may raise `ConnectionError`."""

    def __init__(self, machine: Machine, world: Surroundings["SimMachine"], rng: random.Random) -> None:
        match = re.search(r"GODWIT_JOIN_TOKEN=(\S+)", machine.startup_script)
        assert match is not None
        self.id = machine.instance_id
        self.address = machine.address
        self.powered = True
        self.runs: dict[str, Run] = {}
        self.node_id: str | None = None
        self._gpus = [
            wire.GpuFact(index=g.index, uuid=g.uuid, model=g.model, memory_gib=g.memory_gib) for g in machine.gpus or ()
        ]
        self._join_token = match[1].strip("'")
        self._world = world
        self._disk: dict[str, str] = {"agent_id": f"agent-{rng.getrandbits(48):012x}"}
        self._agent: AgentState | None = None
        self._agent_back_at = 0.0
        self.sickness = Sickness({gpu.index: gpu.uuid for gpu in machine.gpus or ()}, rng)
        self.dismissed = False
        self.full_until = 0.0
        """Until when its disk is full."""
        self.skew_s = 0.0
        """What its wall clock is off by; leases are counted by one that nobody sets."""
        self._now = 0.0
        self._beat_at, self._ask_at = 0.0, 0.0
        self._owed: int | None = None

    def tick(self, now: float) -> None:
        """One second of everything on this machine."""
        self._now = now
        if not self.powered:
            return
        for run in self.runs.values():
            self._run_for_a_second(run, now)
            if run.alive and self.sickness.breaks(run.command.gpus, now):
                self._end(run, Stopped(run.command.attempt_id, "failed", 1, "CUDA error: the GPU is broken"))
        if self.dismissed or now < self._agent_back_at:
            return
        try:
            self._agent_second(now)
        except DiskFull:  # what it believes is ahead of its journal: it ends, and its startup script starts it again
            self.kill_agent(now + AGENT_STARTS_S)

    def _agent_second(self, now: float) -> None:
        agent = self._booted_agent(now)
        for event in self.sickness.events(now):  # the kernel's log is quicker than the end of a program
            self._do(agent, agent.health(event, now), now)
        self._report_ends(agent, now)
        self._do(agent, agent.tick(now), now)
        with suppress(ConnectionError):  # the next second tries again: that is the real link's backoff
            self._talk(agent, now)
        self._save(agent)

    def cut_power(self) -> None:
        """Everything on the machine dies at once."""
        self.powered = False
        self.runs.clear()

    def kill_agent(self, back_at: float) -> None:
        """The agent's process dies and is started again at `back_at`; guards and programs live on."""
        self._agent, self._agent_back_at, self._owed = None, back_at, None

    def dismiss(self, now: float) -> None:
        """The control plane has no more use for this machine."""
        self.dismissed = True
        for run in self.runs.values():
            self._end(run, Stopped(run.command.attempt_id, "cancelled", detail="dismissed"))
        del now

    def forget(self, now: float) -> None:
        """The control plane knows nothing of this machine: it stops everything, and asks to join again."""
        for run in self.runs.values():
            self._end(run, Stopped(run.command.attempt_id, "interrupted", detail="forgotten"))
        self._disk.pop("credential", None)
        self.kill_agent(now + AGENT_STARTS_S)

    def _booted_agent(self, now: float) -> AgentState:
        if self._agent is None:
            stored = self._disk.get("journal")
            self._agent = AgentState.from_json(stored) if stored else AgentState(self._disk["agent_id"])
            if stored:
                self._do(self._agent, self._agent.resume(now), now)
        return self._agent

    def _save(self, agent: AgentState) -> None:
        self._write("journal", agent.to_json())

    def _write(self, name: str, text: str) -> None:
        if self.full_until > self._now:
            raise DiskFull
        self._disk[name] = text

    def _talk(self, agent: AgentState, now: float) -> None:
        if "credential" not in self._disk:
            reply = self._world.join(self, self._join_token, self._introduction(agent))
            self._write("credential", reply.credential)
            self.node_id = reply.node_id
            agent.renewed(now, reply.lease_s)
        news = [one for one in agent.observations() if not isinstance(one, wire.JobProgress)]
        if news or now >= self._beat_at:
            self._beat(agent, now)
        count = self._world.owed(self.node_id or "")
        if count != self._owed or now >= self._ask_at:
            self._owed = None  # until it is answered
            self._ask(agent, now)
            self._owed, self._ask_at = count, now + ASK_EVERY_S

    def _beat(self, agent: AgentState, now: float) -> None:
        self._save(agent)
        beat = wire.HeartbeatRequest(
            agent_id=agent.agent_id,
            sent_at=now,
            attempts=agent.live(),
            observations=agent.observations(),
            retells=True,
        )
        answer = self._world.heartbeat(self, self._disk["credential"], beat)
        self._beat_at = now + BEAT_EVERY_S
        agent.renewed(now, answer.lease_s)
        for run in self.runs.values():
            run.lease_deadline = max(run.lease_deadline, now + answer.lease_s)
        agent.acknowledge(answer.acknowledged_seq)
        agent.restored(answer.restored_at)
        self._do(agent, agent.fenced(answer.fenced, now), now)

    def _ask(self, agent: AgentState, now: float) -> None:
        for command in self._world.commands(self, self._disk["credential"], set(agent.unacknowledged_intents())):
            effects = agent.command(command, now)
            self._save(agent)
            self._do(agent, effects, now)

    def _introduction(self, agent: AgentState) -> wire.JoinRequest:
        return wire.JoinRequest(
            agent_id=agent.agent_id, hostname=self.id, address=self.address, agent_version="sim", cpus=16,
            memory_gib=64.0, gpus=self._gpus,
        )  # fmt: skip

    def _do(self, agent: AgentState, effects: list[Effect], now: float) -> None:
        for effect in effects:
            if isinstance(effect, StartRuntime):
                self._start(agent, effect.command, now)
            elif isinstance(effect, Repair | Check | Copy):
                self.sickness.told(effect, now)
            elif isinstance(effect, StopRuntime):
                run = self.runs.get(effect.attempt_id)
                end = Stopped(effect.attempt_id, "cancelled", detail=effect.reason)
                if run is None:
                    agent.runtime(end, now)
                else:
                    self._end(run, end)

    def _start(self, agent: AgentState, command: wire.StartAttempt, now: float) -> None:
        if command.attempt_id in self.runs:
            return
        run = Run(command, now, lease_deadline=agent.lease_until or now)
        found = self._world.checkpoints.newest(command.job_id, command.epoch)
        run.step = 0 if found is None else found[1]
        self.runs[command.attempt_id] = run
        step, epoch = (None, None) if found is None else (found[1], found[0])
        agent.runtime(Restored(command.attempt_id, step, epoch), now)

    def _run_for_a_second(self, run: Run, now: float) -> None:
        if not run.alive:
            return
        if now >= run.lease_deadline + leases.beyond_s(run.command):
            self._end(run, Stopped(run.command.attempt_id, "interrupted", detail="the guard saw the lease run out"))
        elif run.command.rank == 0 and now - run.started_at >= CLUSTER_STARTS_S:
            self._head_second(run, now)
        elif run.command.rank > 0:
            self._worker_second(run, now)

    def _worker_second(self, run: Run, now: float) -> None:
        """Ray on the other nodes ends once its head is gone, whatever the reason."""
        run.seen_head = run.seen_head or self._world.has_head(run.command)
        if not run.seen_head or self._world.has_head(run.command):
            run.head_missing_since = None
            return
        run.head_missing_since = run.head_missing_since or now
        if now - run.head_missing_since >= HEAD_LOSS_SHOWS_S:
            end = Stopped(run.command.attempt_id, "interrupted", detail="Ray ended: its head is gone", ray_ended=True)
            self._end(run, end)

    def _head_second(self, run: Run, now: float) -> None:
        command = run.command
        if not self._world.gang_is_whole(command):
            if not run.told_running:
                return
            run.peer_missing_since = run.peer_missing_since or now
            if now - run.peer_missing_since >= PEER_LOSS_SHOWS_S:
                self._end(run, Stopped(command.attempt_id, "failed", 1, "a peer is gone"))
            return
        run.told_running = True
        program = self._world.program_of(command.job_name)
        run.step += 1
        if program.fails_at is not None and run.step >= program.fails_at:
            self._end(run, Stopped(command.attempt_id, "failed", 3, "the program has a bug"))
        elif run.step >= program.steps:
            self._end(run, Stopped(command.attempt_id, "succeeded", 0))
        elif run.step % STEPS_PER_CHECKPOINT == 0:
            self._world.checkpoints.committed.setdefault(command.job_id, []).append((command.epoch, run.step))

    def _report_ends(self, agent: AgentState, now: float) -> None:
        for attempt_id, run in list(self.runs.items()):
            if run.told_running:
                agent.runtime(Running(attempt_id), now)
                agent.runtime(Progress(attempt_id, now + self.skew_s, run.step), now)
                if run.step % STEPS_PER_CHECKPOINT == 0:
                    agent.runtime(Committed(attempt_id, run.step, now + self.skew_s, 1, 1, "sim://"), now)
            if run.ended is not None:
                agent.runtime(run.ended, now)
                del self.runs[attempt_id]

    @staticmethod
    def _end(run: Run, end: Stopped) -> None:
        run.ended = run.ended or end


class SimMachines:
    """The `Machines` seam of a simulated cloud, on `SimMachine`s."""

    def __init__(self, make: Callable[[Machine], SimMachine]) -> None:
        self._make = make
        self.by_id: dict[str, SimMachine] = {}

    def boot(self, machine: Machine) -> None:
        """Start it, unless it was started before."""
        if machine.instance_id not in self.by_id:
            self.by_id[machine.instance_id] = self._make(machine)

    def stop(self, instance_id: str) -> None:
        """End it in order; here that is the same as cutting its power."""
        self.cut(instance_id)

    def cut(self, instance_id: str) -> None:
        """Cut its power."""
        if instance_id in self.by_id:
            self.by_id[instance_id].cut_power()

    def drill(self, instance_id: str, kind: Drill, gpu: int | None) -> None:
        """Machines here break by the world's own dice."""

    def warn(self, instance_id: str, within_s: float) -> None:
        """Machines here go without a word."""

    def has_crashed(self, instance_id: str) -> bool:
        """Nothing ends by itself here."""
        del instance_id
        return False

    def is_gone(self, instance_id: str) -> bool:
        """Whether it has no power, or never had."""
        return instance_id not in self.by_id or not self.by_id[instance_id].powered
