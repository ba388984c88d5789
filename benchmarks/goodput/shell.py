"""The shell around the planner in this world: plans until nothing is to be done now, and carries out each action."""

import time
from collections import defaultdict

from godwit.domain.cadence import SaveCost
from godwit.domain.errors import InvariantBroken
from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import NodeId
from godwit.domain.jobs import Outcome
from godwit.domain.nodes import NodeState
from godwit.scheduler import cadence
from godwit.scheduler.health import eviction
from godwit.scheduler.health.casebook import takes_out
from godwit.scheduler.health.view import CHECKS, REPAIR, SWEEP, TestResult
from godwit.scheduler.plan import (
    Action,
    BuyNode,
    CordonNode,
    DecideFinding,
    EndAttempt,
    Evict,
    FinishAttempt,
    MarkHealth,
    MarkNodeLost,
    MoveIncident,
    OpenIncident,
    ReleaseSlot,
    RepairNode,
    ReserveNode,
    StartAttempt,
    TerminateNode,
    TestNode,
    TripBreaker,
)

from benchmarks.goodput import caps
from benchmarks.goodput.faults import Effect
from benchmarks.goodput.inputs import DAY_S
from benchmarks.goodput.planning import Planning
from benchmarks.goodput.program import Job
from benchmarks.goodput.proofs import Proofs
from benchmarks.goodput.responder import Responder
from benchmarks.goodput.rows import GPUS, START_S, Rows
from benchmarks.goodput.world import World

MOST_ROUNDS = 500
"""More than a burst of a fabric domain needs; beyond it two rules undo each other."""

ROUNDING_S = 0.001
"""Deadlines that must be passed, and not only met, are looked at again a moment later."""

PLAN_S = 0.05
"""How long news waits for more of its kind."""

LEARN_EVERY_S = 6 * 3_600.0
"""How often the rate of failures is looked at, with what follows from it: how often to save, how many
spares to keep."""


class Shell(Responder):
    """Carries plans out. `exact`: every plan is made from the whole fleet; see `planning`."""

    def __init__(self, *, exact: bool = False) -> None:
        self._exact = exact

    def begin(self, world: World) -> None:
        """The fleet is there, and the owner submits the job."""
        self.world, self.rows = world, Rows(world.fleet, is_exact=self._exact)
        self.planning = Planning(self.rows, exact=self._exact)
        self.repairs = defaultdict[str, list[tuple[str, Remedy, tuple[int, ...]]]](list)
        self.tests = defaultdict[str, list[str | None]](list)
        self.proofs, self.tested_since = Proofs(), dict[str, float]()
        self._wakes, self._counted, self._called = float("inf"), set[str](), set[str]()
        self._is_due, self._failures = False, list[float]()
        self._rate_per_s, self._learns_at = 0.0, 0.0
        self.at_now()
        for machine in world.machines.values():
            self.rows.joined(machine)
        self.rows.submit()
        self.settle()

    def at_now(self) -> float:
        """The rows are written at the world's time."""
        self.rows.now = START_S + self.world.now
        return self.rows.now

    def settle(self) -> None:
        """Plan soon: what comes at about the same time is planned for together, as the control plane does."""
        if not self._is_due:
            self._is_due = True
            self.world.after(PLAN_S, self._settle)

    def _settle(self) -> None:
        self._is_due = False
        for _ in range(MOST_ROUNDS):
            now = self.at_now()
            self.rows.saved_at = self._saved_at()
            began = time.process_time()
            plan = self.planning.plan(now)
            self.world.tally.planned(time.process_time() - began)
            if not plan.actions:
                self._wake(plan.wake_at)
                return
            for action in plan.actions:
                self._carry_out(action)
        told = [f"{type(one).__name__} {getattr(one, 'reason', '')}" for one in plan.actions]
        raise InvariantBroken(f"the planner does not come to rest: {told[:5]}")

    def _carry_out(self, action: Action) -> None:
        rows = self.rows
        match action:
            case BuyNode(offer=offer, job_id=job_id):
                rows.bought(self.world.buy(offer.fabric_domain), offer, job_id)
            case ReserveNode(node_id=node_id, job_id=job_id):
                rows.node(node_id, reserved_for=job_id)
            case StartAttempt(slots=slots):
                rows.start(action, slots)
                self._learn()
                machines = [self.world.machines[slot.node_id] for slot in slots]
                tries = self.proofs.tries((one.id for one in machines), self.world.now)
                self.world.program.start(machines, self._interval_s(), tries=tries)
            case EndAttempt(outcome=outcome, reason=reason):
                self.end(outcome, reason, saves=False)
            case FinishAttempt():
                rows.attempt = None
            case ReleaseSlot(node_id=node_id):
                rows.released([node_id])
            case MarkNodeLost(node_id=node_id):
                rows.lost[rows.nodes[node_id].offer.fabric_domain or ""] += 1
                rows.node(node_id, state=NodeState.LOST, state_since=rows.now)
            case TerminateNode(node_id=node_id):
                self._give_back(node_id)
            case _:
                self._care(action)

    def _care(self, action: Action) -> None:
        rows = self.rows
        match action:
            case DecideFinding(finding_id=finding_id):
                rows.decided(finding_id)
            case OpenIncident(incident=incident):
                rows.open(incident)
                self._call(incident)
            case MoveIncident():
                self._moved(rows.move(action))
            case MarkHealth():
                rows.mark(action)
            case CordonNode(node_id=node_id, lifted=lifted):
                rows.cordon(node_id, lifted=lifted)
                if not lifted:
                    self._watch_cap()
            case Evict():
                self._evict(action)
            case RepairNode(node_id=node_id, incident_id=incident_id, remedy=remedy, gpus=gpus):
                machine = self.world.machines[node_id]
                indexes = tuple(index for index in range(GPUS) if not gpus or machine.uuid(index) in gpus)
                self.repairs[machine.id].append((incident_id, remedy, indexes))
                rows.ordered(TestResult(node_id, incident_id, REPAIR, rows.now, None))
                self.world.repair(machine, remedy, indexes)
            case TestNode(node_id=node_id, incident_id=incident_id):
                machine = self.world.machines[node_id]
                self.tests[machine.id].append(incident_id)
                kind = SWEEP if incident_id is None else CHECKS
                self.tested_since[machine.id] = self.world.now
                rows.ordered(TestResult(node_id, incident_id, kind, rows.now, None))
                self.world.test(machine)
            case TripBreaker():
                rows.tripped_at = rows.now
                self.world.tally.trips += 1
                self.world.after(self.world.times.person_s, self._reset_breaker)
            case _:
                raise InvariantBroken(f"nobody carries out {action}")

    def end(self, outcome: Outcome, reason: str, *, saves: bool) -> None:
        """The attempt is to stop; after a failure of its own its owner submits the job again."""
        if not self.rows.settle(outcome, reason):
            return
        if self.rows.job is None:
            self._failed_by_itself()
        if self.world.program.job is Job.IDLE:
            raise InvariantBroken("an attempt ends that does not run")
        self.world.program.stop(saves=saves)

    def _failed_by_itself(self) -> None:
        """Its owner's loop submits it again; when it failed often, a person looks meanwhile."""
        world, day = self.world, self.world.now - DAY_S
        self._failures = [*(at for at in self._failures if at > day), world.now]
        world.after(world.times.resubmit_s, self._resubmit)
        if len(self._failures) >= world.times.owner_failures:
            self._failures = []
            world.after(world.times.person_s, self._owner_looked)

    def _owner_looked(self) -> None:
        """Who computes nonsense is found by hand, and drained; other failures were the program's."""
        now = self.at_now()
        for machine in self.world.program.odd:
            if any(fault.kind.effect is Effect.CORRUPT for fault in machine.faults) and machine.alive:
                self.rows.node(machine.id, state=NodeState.DRAINING, state_since=now)
                self.world.tally.by_hand += 1
        self.settle()

    def _resubmit(self) -> None:
        self.at_now()
        self.rows.submit()
        self.settle()

    def _evict(self, action: Evict) -> None:
        incident = self.rows.incidents.get(action.incident_id)
        if incident is not None and takes_out(incident) and incident.id not in self._counted:
            self._count(incident, evicted=True)
        self.end(Outcome.EVICTED, action.reason, saves=action.saves)
        self.rows.left_for(action.incident_id, action.job_id)

    def _count(self, incident: Incident, *, evicted: bool) -> None:
        self._counted.add(incident.id)
        machine = self.world.machines.get(incident.node_id)
        if machine is not None:
            self.world.tally.took_out(machine, evicted=evicted)

    def _moved(self, incident: Incident) -> None:
        self._call(incident)
        if incident.state is IncidentState.CLOSED and takes_out(incident) and incident.id not in self._counted:
            self._count(incident, evicted=False)

    def _give_back(self, node_id: NodeId) -> None:
        machine = self.world.machines.get(node_id)
        if machine is not None:
            self.world.give_back(machine)
        self.rows.gone(node_id)

    def _call(self, incident: Incident) -> None:
        """A person is asked about what automation cannot end."""
        if incident.state is IncidentState.ESCALATED and incident.id not in self._called:
            self._called.add(incident.id)
            self.world.after(self.world.times.person_s, self._looked, incident)

    def _looked(self, incident: Incident) -> None:
        """The person closes it; a machine that is sick is given back."""
        self.at_now()
        if incident.id not in self.rows.incidents:
            return
        machine = self.world.machines.get(incident.node_id)
        self.rows.move(MoveIncident(incident.id, IncidentState.CLOSED, "a person looked"))
        if machine is not None and machine.is_sick:
            self._give_back(incident.node_id)
        self.settle()

    def _reset_breaker(self) -> None:
        self.at_now()
        self.rows.tripped_at = None
        self.settle()

    def _watch_cap(self) -> None:
        """Whether automation took more out within the breaker's window than it may: counted here, not by the policy."""
        self.world.tally.cap_exceeded += caps.exceeded(self.rows)

    def _wake(self, at: float | None) -> None:
        waits = [one for one in self.rows.incidents.values() if one.state is IncidentState.OPEN and eviction.swaps(one)]
        if waits:  # the news that a checkpoint was committed would wake the planner
            at = min(at or float("inf"), self.rows.now + self._interval_s())
        if at is None or at >= self._wakes:
            return
        self._wakes = at
        self.world.at(at - START_S + ROUNDING_S, self._woken, at)

    def _woken(self, at: float) -> None:
        if at == self._wakes:
            self._wakes = float("inf")
            self.settle()

    def _interval_s(self) -> float:
        """What the job's nodes are told and choose: from what saves cost, and what is known of their offer."""
        saving = self.world.saving
        return cadence.choose(SaveCost(saving.stall_s, saving.commit_s), self._rate_per_s).interval_s

    def _learn(self) -> None:
        """Rates move slowly; to read them at each start would cost more than all plans."""
        if self.world.now >= self._learns_at:
            self._rate_per_s, self._learns_at = self.rows.learn(), self.world.now + LEARN_EVERY_S

    def _saved_at(self) -> float | None:
        stint = self.world.program.training.stint
        saved_at = None if stint is None else stint.saved_at(self.world.now)
        return None if saved_at is None else saved_at + self.world.saving.commit_s + START_S
