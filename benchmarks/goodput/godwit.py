"""godwit in this world: its agents' checks, its planner with its health policy, its cadence; only the shell is ours."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from godwit.agents.checks.work.losses import LossWatch
from godwit.agents.effects import Found
from godwit.domain.health import Finding, Grade, Remedy
from godwit.domain.ids import AttemptId, FindingId, GpuUuid, JobId, NodeId
from godwit.domain.jobs import Outcome
from godwit.domain.nodes import NodeState
from godwit.scheduler.health.signs import JOB_CHECKS
from godwit.scheduler.health.view import CHECKS, REPAIR, SWEEP, TestResult

from benchmarks.goodput import agent
from benchmarks.goodput.agent import Agent
from benchmarks.goodput.faults import KINDS, Effect
from benchmarks.goodput.machines import Machine
from benchmarks.goodput.program import Job
from benchmarks.goodput.shell import Shell
from benchmarks.goodput.world import World

WINDOWS = 3
"""Windows in a row in which a rank must lag until an agent tells (`godwit.domain.pace`)."""


class Godwit(Shell):
    """The responder that is measured."""

    name = "godwit"
    _worked_since: float | None

    def begin(self, world: World) -> None:
        """Each machine has an agent, though only those are made that have something to say."""
        self._agents, self._names = dict[str, Agent](), count(1)
        self._losses, self._worked_since = LossWatch(), None
        super().begin(world)

    def lines(self, machine: Machine, lines: Sequence[str]) -> None:
        """Its agent reads them."""
        self._hear(machine, self._agent(machine).read(lines, self.world.now))

    def polled(self, machine: Machine) -> None:
        """Its agent judges the values."""
        self._hear(machine, self._agent(machine).poll(self.world.now))

    def unheard(self, machine: Machine) -> None:
        """No heartbeat comes any more, and no lease is renewed."""
        now = self.at_now()
        self.rows.node(machine.id, last_seen_at=now, lease_until=now + self.rows.policy.lease_s)
        self.settle()

    def crashed(self, machine: Machine) -> None:
        """A preflight names the machine; a program only says how it ended, on its head."""
        program, attempt = self.world.program, self.rows.attempt
        if attempt is None or attempt.outcome is not None:
            return
        kind = KINDS.get(program.cause)
        if program.at_start and kind is not None and not kind.is_of_network and machine.alive:
            gpu = next((fault.gpu for fault in machine.faults if fault.kind.blocks), None)
            found = Found(
                "preflight", Grade.UNHEALTHY, "its preflight failed", "preflight:failed",
                gpu=None if gpu is None else machine.uuid(gpu),
            )  # fmt: skip
            self._tell(machine, [found])
            self.end(Outcome.EVICTED, f"preflight of {machine.id} failed", saves=False)
            self.settle()
            return
        head = self._head()
        if head is not None:
            self.world.after(self.world.times.heartbeat_s, self._failed, attempt.id, head, program.cause)

    def stuck(self, odd: Machine | None) -> None:
        """The agents of the head and of the odd node tell."""
        attempt, head = self.rows.attempt, self._head()
        if attempt is None or attempt.outcome is not None or head is None:
            return
        found = Found("hang", Grade.UNHEALTHY, "no step", "hang", Remedy.RESTART_JOB, attempt_id=attempt.id)
        if odd is not head:
            self._tell(head, [found])
        if odd is not None and odd.alive:
            self._tell(odd, [replace(found, evidence={"odd": "rank 3"})])
        self.settle()

    def slow(self, machine: Machine, rate: float, windows: int) -> None:
        """It is told once that the lag is steady."""
        attempt = self.rows.attempt
        if attempt is None or attempt.outcome is not None or windows != WINDOWS:
            return
        slow = [fault for fault in machine.faults if fault.kind.rate < 1]
        gpu = slow[0].gpu
        lag = 1 / rate - 1
        found = Found(
            "straggler", Grade.DEGRADED, f"a rank takes {lag:.0%} longer", "straggler:3", gpu=machine.uuid(gpu),
            attempt_id=attempt.id, evidence={"rank": 3, "lag": round(lag, 3), "windows": windows},
        )  # fmt: skip
        self.world.told(slow)
        self._hear(machine, [found])

    def spoilt(self) -> None:
        """The agent of the head reads it in the program's reports, and tells of it once, and once it stays so."""
        attempt, head = self.rows.attempt, self._head()
        code = self._losses.saw(math.nan)
        if attempt is not None and attempt.outcome is None and head is not None and code:
            grade, remedy = Grade.DEGRADED, Remedy.NONE
            if self._losses.stays:
                grade, remedy = Grade.UNHEALTHY, Remedy.RESTART_JOB
            self._hear(head, [Found("loss", grade, "no number", code, remedy, attempt_id=attempt.id)])

    def running(self) -> None:
        """The agents say so."""
        self._losses, self._worked_since = LossWatch(), self.world.now
        self.at_now()
        self.rows.running()

    def stopped(self) -> None:
        """All nodes that are heard say that nothing runs there any more."""
        self.at_now()
        alive = [one.id for one in self.world.program.gang if one.alive]
        if self._worked_since is not None:
            self.proofs.worked(alive, self._worked_since, self.world.now)
            self._worked_since = None
        self.rows.released(alive)
        self.settle()

    def repaired(self, machine: Machine, worked: bool) -> None:
        """Its agent tells what is over, and that the repair is."""
        incident_id, remedy, gpus = self.repairs[machine.id].pop(0)
        if worked:
            agent = self._agent(machine)
            if remedy is Remedy.REBOOT:
                self.proofs.forget(machine.id)
            self._tell(machine, agent.booted() if remedy is Remedy.REBOOT else agent.was_reset(gpus))
        self._ended(machine, incident_id, REPAIR, passed=worked)

    def tested(self, machine: Machine, passed: bool) -> None:
        """What failed comes as a finding first. A sweep makes room for work that comes, and says nothing."""
        incident_id, program = self.tests[machine.id].pop(0), self.world.program
        if incident_id is None and program.holds(machine) and program.job is not Job.IDLE:
            return
        if passed:
            self.proofs.passed(machine.id, self.tested_since[machine.id], self.world.now)
        bad = next((fault for fault in machine.faults if fault.is_hardware), None)
        if not passed and bad is not None and machine.alive:
            is_wrong = bad.kind.effect is Effect.CORRUPT
            found = Found(
                "correctness" if is_wrong else "matmul", Grade.UNHEALTHY, "it failed its test",
                "correctness:wrong" if is_wrong else "matmul:failed",
                Remedy.REPLACE_NODE if is_wrong else Remedy.NONE, gpu=machine.uuid(bad.gpu),
            )  # fmt: skip
            self._tell(machine, [found])
        self._ended(machine, incident_id, SWEEP if incident_id is None else CHECKS, passed=passed)

    def booted(self, name: str) -> None:
        """Its agent joins soon."""
        now = self.at_now()
        self.rows.node(name, state=NodeState.JOINING, state_since=now)

    def arrived(self, machine: Machine) -> None:
        """It joins, unless nobody waits for it any more."""
        self.at_now()
        if NodeId(machine.id) not in self.rows.nodes:
            self.world.give_back(machine)
            return
        self.rows.joined(machine)
        self.settle()

    # --- what becomes of it ---

    def _agent(self, machine: Machine) -> Agent:
        if machine.id not in self._agents:
            self._agents[machine.id] = Agent(machine)
        return self._agents[machine.id]

    def _head(self) -> Machine | None:
        """The machine of rank 0, while its agent answers."""
        attempt = self.rows.attempt
        head = None if attempt is None else self.world.machines.get(attempt.head.node_id)
        return head if head is not None and head.alive else None

    def _failed(self, attempt_id: AttemptId, head: Machine, cause: str) -> None:
        attempt = self.rows.attempt
        if attempt is None or attempt.id != attempt_id or attempt.outcome is not None:
            return
        self.at_now()
        self.rows.failed(1)
        words = agent.last_words(attempt_id, cause)
        self._hear(head, [] if words is None else [words])
        self.settle()

    def _ended(self, machine: Machine, incident_id: str | None, kind: str, *, passed: bool) -> None:
        now = self.at_now()
        if incident_id is None or incident_id in self.rows.incidents:
            self.rows.ordered(TestResult(NodeId(machine.id), incident_id, kind, now, passed))
        self.settle()

    def _hear(self, machine: Machine, found: Sequence[Found]) -> None:
        if found:
            self._tell(machine, found)
            self.settle()

    def _tell(self, machine: Machine, found: Sequence[Found]) -> None:
        """Findings are written down, as the control plane's service does."""
        now, node_id = self.at_now(), NodeId(machine.id)
        if node_id not in self.rows.nodes:
            return
        for one in found:
            if one.grade is not Grade.HEALTHY:
                self.proofs.doubt(machine.id, self.world.now)
            if one.grade is not Grade.HEALTHY and one.check not in JOB_CHECKS:
                # What shows in no line and no value cannot be told by one of another fault.
                seen = [fault for fault in machine.faults if fault.kind.lines or fault.kind.shows]
                self.world.told(fault for fault in seen if one.gpu in (None, machine.uuid(fault.gpu)))
            self.rows.found(
                Finding(
                    FindingId(f"finding-{next(self._names):07}"), node_id, now, one.check, one.grade, one.reason,
                    one.code, one.suggested, None if one.gpu is None else GpuUuid(one.gpu),
                    None if one.attempt_id is None else AttemptId(one.attempt_id), one.boot_id, one.evidence,
                    job_id=self._concerned(node_id, one),
                )
            )  # fmt: skip

    def _concerned(self, node_id: NodeId, found: Found) -> JobId | None:
        attempt = self.rows.attempt
        if attempt is None:
            return None
        if found.attempt_id is not None:
            return attempt.job_id
        holds = found.gpu is not None and node_id in self.rows.place_of and node_id not in self.rows.freed
        return attempt.job_id if holds else None
