"""What a control plane writes down, in memory: every action of a plan does to these rows what it does to the tables.

What an action asks of the world (a stop, a repair, a purchase) is left to `shell`.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from godwit.agents.checks.active.proven import PASSED_S
from godwit.domain import lifecycle
from godwit.domain.health import HealthRecord
from godwit.domain.ids import AttemptId, GpuUuid, JobId, NodeId, ProjectId, ProviderName
from godwit.domain.jobs import Attempt, AttemptState, Fabric, Job, JobSpec, JobState, Outcome, Resources, Retries, Slot
from godwit.domain.nodes import Gpu, Health, Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.health import rates, spares
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.health.view import SWEEP, Cordon
from godwit.scheduler.plan import MarkHealth, StartAttempt
from godwit.scheduler.snapshot import Policy, Snapshot
from godwit.scheduler.trust import Record

from benchmarks.goodput.health_rows import ACTOR, HealthRows
from benchmarks.goodput.inputs import NODE_USD_PER_HOUR
from benchmarks.goodput.machines import Machine
from benchmarks.goodput.scenario import Fleet

ALWAYS = float("inf")
"""When a machine that answers was last heard: to write each second down for each machine would change no decision."""

START_S = 1_000_000.0
"""When the world begins, by the rows' clock: not at 0, which some rows take for never."""

SWEEP_EVERY_S = PASSED_S - 3_600.0
"""Idle machines are tested nightly, as is advised for rented fleets: an hour before what that proves is over."""

PROVIDER = ProviderName("cloud")
GPUS = 8


class Rows(HealthRows):
    """The tables of one run.

    `sizes`: how many nodes there are of each fabric domain. `gang`: nodes that the job holds or held last, `place_of`
    their places among its slots. Those on `freed` nodes are released: to write that into each slot at once would cost
    more than all else that a stop does.
    """

    def __init__(self, fleet: Fleet, *, is_exact: bool) -> None:
        super().__init__()
        self.fleet, self.is_exact = fleet, is_exact
        ask = Resources(gpus=GpuAsk(GPUS, ("H100",)), nodes_min=fleet.nodes, nodes_max=fleet.nodes, fabric=Fabric.ANY)
        # A run of weeks is interrupted hundreds of times; its owner knows.
        self.spec = JobSpec(name="pretraining", run="python train.py", resources=ask, retries=Retries(max=100_000))
        self.policy = Policy(health=HealthPolicy(sweep_every_s=SWEEP_EVERY_S))
        self.nodes: dict[NodeId, Node] = {}
        self.sizes = Counter[str]()
        self.job: Job | None = None
        self.attempt: Attempt | None = None
        self.saved_at: float | None = None
        self.lost: Counter[str] = Counter()
        self.gang: tuple[NodeId, ...] = ()
        self.place_of: dict[NodeId, int] = {}
        self.freed: set[str] = set()
        self._special: set[NodeId] = set()
        self._jobs = 0

    # --- reading ---

    def snapshot(self, left_out: AbstractSet[NodeId] = frozenset()) -> Snapshot:
        """Everything, as the planner gets it, but these nodes and what is on them."""
        return Snapshot(
            jobs=() if self.job is None else (self.job,),
            attempts=() if self.attempt is None else (self._without(self.attempt, left_out),),
            nodes=tuple(self.nodes[node_id] for node_id in self.nodes.keys() - left_out),
            offers=tuple(self.offer(domain) for domain in self.fleet.domains),
            saved_at={} if self.job is None or self.saved_at is None else {self.job.id: self.saved_at},
            health=self.view(), policy=self.policy,
        )  # fmt: skip

    def _without(self, attempt: Attempt, left_out: AbstractSet[NodeId]) -> Attempt:
        places = sorted(self.place_of[node_id] for node_id in self.place_of.keys() - left_out)
        slots = (attempt.slots[place] for place in places)
        return replace(attempt, slots=tuple(replace(s, released=True) if s.node_id in self.freed else s for s in slots))

    def learn(self) -> float:
        """Set how many spares are kept, as by `health.spares: auto`; returns failures per second of the job's nodes."""
        heard = tuple(
            replace(node, last_seen_at=self.now) if node.last_seen_at == ALWAYS else node
            for node in self.nodes.values()
        )
        auto = replace(self.policy, health=HealthPolicy(spares=None))
        hours = (self.now - START_S) / 3_600
        records = {
            self.offer(domain).key: Record(losses=self.lost[domain], hours=hours * self.sizes[domain])
            for domain in self.fleet.domains
        }
        snapshot = replace(self.snapshot(), nodes=heard, policy=auto, records=records)
        if self.attempt is not None:
            self.policy = replace(self.policy, bounds=Bounds(warm=spares.asks(snapshot)))
        mine = (snapshot.node_by_id[node_id] for node_id in self.gang)
        return rates.failures_per_s(mine, snapshot)

    def offer(self, domain: str) -> Offer:
        """What machines of a fabric domain are sold as."""
        return Offer(
            PROVIDER, "region", domain, "h100.8x", "H100-SXM", GPUS, 80.0, 128, 1024.0,
            price_usd_per_hour=NODE_USD_PER_HOUR, fabric_domain=domain, seen_at=self.now,
        )  # fmt: skip

    # --- nodes ---

    def bought(self, name: str, offer: Offer, job_id: JobId | None) -> None:
        """A launch was ordered."""
        node_id = NodeId(name)
        self._write(Node(node_id, offer, NodeState.PROVISIONING, self.now, self.now, reserved_for=job_id))

    def joined(self, machine: Machine) -> None:
        """A machine is ready; its GPUs are recognised."""
        node_id = NodeId(machine.id)
        old = self.nodes.get(node_id)
        offer = self.offer(machine.domain) if old is None else old.offer
        gpus = tuple(self._gpu(machine, index) for index in range(GPUS))
        self._write(Node(
            node_id, offer, NodeState.READY, self.now, self.now, address=f"10.0.0.{machine.place}", gpus=gpus, cpus=128,
            memory_gib=1024.0, last_seen_at=ALWAYS, lease_until=ALWAYS, idle_since=self.now,
            reserved_for=None if old is None else old.reserved_for,
        ))  # fmt: skip

    def _gpu(self, machine: Machine, index: int) -> Gpu:
        uuid = GpuUuid(machine.uuid(index))
        record = self.records.get(uuid)
        return Gpu(uuid, index, "H100-SXM", 80.0, Health.HEALTHY if record is None else record.state)

    def node(self, node_id: str, **fields: Any) -> None:
        """Change a node's row, if it is there."""
        key = NodeId(node_id)
        if key in self.nodes:
            self._write(replace(self.nodes[key], **fields))

    def gone(self, node_id: NodeId) -> None:
        """Its provider says that the machine is no more."""
        self.released([node_id])
        node = self.nodes.pop(node_id, None)
        if node is not None:
            self.sizes[_domain(node)] -= 1
        self.orders.pop((node_id, SWEEP), None)
        self._special.discard(node_id)
        if node_id in self.place_of:
            self.gang = tuple(one for one in self.gang if one != node_id)

    def odd(self) -> set[NodeId]:
        """Nodes of which more is known than that they are ready and well."""
        return self._special | {incident.node_id for incident in self.incidents.values()} | self.telling()

    def _write(self, node: Node) -> None:
        if node.id not in self.nodes:
            self.sizes[_domain(node)] += 1
        self.nodes[node.id] = node
        is_plain = (
            node.state is NodeState.READY
            and node.last_seen_at == ALWAYS
            and all(gpu.health is Health.HEALTHY for gpu in node.gpus)
        )
        self._special.discard(node.id) if is_plain else self._special.add(node.id)

    # --- jobs and attempts ---

    def submit(self) -> None:
        """The owner submits the job; after a failure of its own the next one goes on from its checkpoints."""
        self._jobs += 1
        name = JobId(f"job-{self._jobs:04}")
        self.job = Job(name, ProjectId("default"), self.spec, JobState.QUEUED, self.now, self.now)

    def start(self, action: StartAttempt, slots: tuple[Slot, ...]) -> None:
        """An attempt begins."""
        job = self._job()
        name = AttemptId(f"{job.id}-{action.epoch}")
        self.attempt = Attempt(
            name, job.id, action.epoch, AttemptState.STARTING, slots, action.port, self.now, self.now
        )
        self.job = replace(job, state=JobState.STARTING, state_since=self.now, epoch=action.epoch)
        self.saved_at = None
        self.gang = tuple(slot.node_id for slot in slots)
        self.place_of, self.freed = {node_id: place for place, node_id in enumerate(self.gang)}, set()
        for slot in slots:
            node = self.nodes[slot.node_id]
            if node.idle_since is not None or node.reserved_for is not None:
                self._write(replace(node, reserved_for=None, idle_since=None))

    def running(self) -> None:
        """Its program runs."""
        if self.attempt is not None and self.attempt.outcome is None:
            self.attempt = replace(self.attempt, state=AttemptState.RUNNING, state_since=self.now)
            self.job = replace(self._job(), state=JobState.RUNNING, state_since=self.now)

    def failed(self, exit_code: int) -> None:
        """Its head says that the program failed; nobody believes it yet."""
        if self.attempt is not None and self.attempt.outcome is None and self.attempt.failed_at is None:
            self.attempt = replace(self.attempt, failed_at=self.now, exit_code=exit_code)

    def settle(self, outcome: Outcome, reason: str) -> bool:
        """Its outcome is known, and its nodes are told; False when it was known before."""
        attempt = self.attempt
        if attempt is None or attempt.outcome is not None:
            return False
        self.attempt = replace(
            attempt, state=AttemptState.STOPPING, state_since=self.now, outcome=outcome, detail=reason
        )
        to = JobState.FAILED if outcome is Outcome.FAILED else JobState.RECOVERING
        job = self._job()
        count = job.interruptions + (outcome is Outcome.INTERRUPTED)
        self.job = None if to is JobState.FAILED else replace(
            job, state=to, state_since=self.now, interruptions=count
        )  # fmt: skip
        return True

    def released(self, nodes: Iterable[str]) -> None:
        """The attempt certainly runs on these nodes no more."""
        there = set(nodes)
        if self.attempt is None:
            return
        self.freed |= there
        # Nobody asks when machines became idle that nothing is known of: the job takes them again.
        plain = set() if self.is_exact else set(self.gang) - self.odd()
        for node_id in sorted(there - plain):
            self.node(node_id, idle_since=self.now)

    def _job(self) -> Job:
        assert self.job is not None, "there is no job"
        return self.job

    # --- health, as far as it is of nodes ---

    def mark(self, action: MarkHealth) -> None:
        """What is believed of a device changes."""
        before = self.records.get(action.record_id) or HealthRecord(
            action.record_id, Health.HEALTHY, self.now, self.now, action.node_id, PROVIDER
        )
        record = before
        if before.state is not action.to:
            record, _ = lifecycle.advance(before, action.to, reason=action.reason, actor=ACTOR, now=self.now)
        self.records[action.record_id] = replace(record, reason=action.reason)
        node = self.nodes.get(action.node_id)
        if node is not None:
            gpus = (replace(gpu, health=action.to) if gpu.uuid == action.record_id else gpu for gpu in node.gpus)
            self._write(replace(node, gpus=tuple(gpus)))

    def cordon(self, node_id: NodeId, *, lifted: bool) -> None:
        """No work starts there, or may again."""
        node = self.nodes[node_id]
        before, to = (NodeState.CORDONED, NodeState.READY) if lifted else (NodeState.READY, NodeState.CORDONED)
        if node.state is before:
            self._write(replace(node, state=to, state_since=self.now, reserved_for=None))
            if not lifted:
                self.cordons.append(Cordon(self.now, node_id, PROVIDER, node.offer.fabric_domain))


def _domain(node: Node) -> str:
    return node.offer.fabric_domain or ""
