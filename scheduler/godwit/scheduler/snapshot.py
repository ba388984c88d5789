"""All that the planner may know, as one immutable value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from godwit.domain.ids import JobId, NodeId, OfferKey, ProjectId
from godwit.domain.jobs import Attempt, Job, JobState
from godwit.domain.migrations import Migration
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.domain.projects import Project
from godwit.scheduler import estimates, tenancy
from godwit.scheduler.asks import Ask
from godwit.scheduler.averages import Average, Forgetting
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.dependencies import UNREAD, Standing
from godwit.scheduler.estimates import Estimate, Past
from godwit.scheduler.giving_way import Preemption
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.health.view import HealthView
from godwit.scheduler.idle_jobs import IdleJobs
from godwit.scheduler.migration.policy import MigrationPolicy
from godwit.scheduler.reservations import Patience
from godwit.scheduler.resizing.terms import Terms
from godwit.scheduler.trust import Record


@dataclass(frozen=True)
class Policy:
    """The times that decide when something is lost, safe, or idle, all in seconds; and the bounds of the fleet.

    `missed_after_s`: a node unheard for this long is lost. Four missed heartbeats of 1 s: one or two get lost in a
    busy network, four in a row do not.
    `lease_margin_s`: added to a lease before its work is given away. An agent counts its lease from when it *sent* the
    heartbeat, which is never later than when it was received, so the margin only has to cover the time that ending a
    process group takes and the drift of two clocks over one lease.
    `idle_after_s`: a node that nobody uses is released after this, or late in the step that is paid then.
    `release_margin_s`: how long before the end of a paid step an idle node is given back. It covers 5 s until the
    planner looks again, a first call to the provider that hangs (60 s until another try) and a second one, and half a
    minute for the machine to end. Of a paid hour it wastes 3 %; coming too late wastes a whole one.
    `hold_s`: an offer that was refused is passed over for this long.
    `offers_every_s`: offers are read again after this; prices and capacity move within minutes.
    `patience`: who gets nodes kept while it waits. `preemption`: who gives way to whom. `forgetting`: how long what a
    project held counts against it.
    `loss_memory_s`: a provider that lost a node is the last choice for this long. `health`: what findings lead to.
    `migration`: when running jobs are moved by the planner's own decision.
    `resizing`: how careful changes of a running job's size are. `idle_jobs`: what becomes of jobs whose GPUs do
    nothing.
    """

    missed_after_s: float = 4.0
    lease_s: float = 15.0
    lease_margin_s: float = 3.0
    idle_after_s: float = 300.0
    release_margin_s: float = 120.0
    hold_s: float = 30.0
    offers_every_s: float = 15.0
    loss_memory_s: float = 600.0
    bounds: Bounds = field(default_factory=Bounds)
    patience: Patience = field(default_factory=Patience)
    preemption: Preemption = field(default_factory=Preemption)
    health: HealthPolicy = field(default_factory=HealthPolicy)
    forgetting: Forgetting = field(default_factory=Forgetting)
    migration: MigrationPolicy = field(default_factory=MigrationPolicy)
    resizing: Terms = field(default_factory=Terms)
    idle_jobs: IdleJobs = field(default_factory=IdleJobs)


@dataclass(frozen=True)
class Hold:
    """An offer to pass over until `until`, and why."""

    offer_key: OfferKey
    until: float
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """One consistent reading of the database.

    `jobs`: every job that is not final, in queue order among those that wait (a bounded window of them), and those of
    which an attempt has not ended. `projects`: every project, with its quota. `saved_at`: when each running job last
    committed a checkpoint in its present attempt. `yielded_at`: when each waiting job last gave way.
    `failed_starts`: how many attempts in a row of each interrupted job ended before their programs ran. `attempts`:
    every attempt that has not ended. `nodes`: every node that is not final. `losses`: when each provider last lost a
    node. `records`: what happened with the offers that were tried. `serving_since`: since when this control plane hears
    agents; nobody is late before. `dependencies`: how far that is which queued jobs wait for, by their `after_id`.
    `pasts`: what is known of jobs from before, where anything is. `usage`: what each project held on average by its
    attempts that ended, and `served_gpu_s` how much each job got by those, where it is anything. `health`: what checks
    found, and what was done. `migrations`: those that are not over, and those that began lately. `saved_bytes`: how
    large the last checkpoint of each running job is, where it has one. `stood_on`: where each job that was
    interrupted stood. `spent`: why nothing new starts of projects (by name) and jobs (by id) whose budget is spent.
    `lacking`: which secret is gone that a waiting job cannot start without.
    """

    jobs: tuple[Job, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    nodes: tuple[Node, ...] = ()
    offers: tuple[Offer, ...] = ()
    holds: tuple[Hold, ...] = ()
    records: Mapping[OfferKey, Record] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    projects: tuple[Project, ...] = ()
    saved_at: Mapping[JobId, float] = field(default_factory=dict)
    yielded_at: Mapping[JobId, float] = field(default_factory=dict)
    failed_starts: Mapping[JobId, int] = field(default_factory=dict)
    dependencies: Mapping[str, tuple[Standing, ...]] = field(default_factory=dict)
    pasts: Mapping[JobId, Past] = field(default_factory=dict)
    usage: Mapping[ProjectId, Average] = field(default_factory=dict)
    served_gpu_s: Mapping[JobId, float] = field(default_factory=dict)
    health: HealthView = field(default_factory=HealthView)
    migrations: tuple[Migration, ...] = ()
    saved_bytes: Mapping[JobId, int] = field(default_factory=dict)
    stood_on: Mapping[JobId, tuple[NodeId, ...]] = field(default_factory=dict)
    spent: Mapping[str, str] = field(default_factory=dict)
    lacking: Mapping[JobId, str] = field(default_factory=dict)
    serving_since: float = 0.0
    policy: Policy = Policy()

    def in_order(self) -> "Snapshot":
        """The same with everything sorted by its id, so that no decision depends on the order it was read in."""
        return replace(
            self,
            jobs=tuple(sorted(self.jobs, key=lambda job: job.id)),
            attempts=tuple(sorted(self.attempts, key=lambda attempt: attempt.id)),
            nodes=tuple(sorted(self.nodes, key=lambda node: node.id)),
            offers=tuple(sorted(self.offers, key=lambda offer: offer.key)),
            migrations=tuple(sorted(self.migrations, key=lambda migration: migration.id)),
        )

    @cached_property
    def job_by_id(self) -> Mapping[JobId, Job]:
        """Jobs by id."""
        return {job.id: job for job in self.jobs}

    @cached_property
    def node_by_id(self) -> Mapping[NodeId, Node]:
        """Nodes by id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def attempt_by_job(self) -> Mapping[JobId, Attempt]:
        """The one attempt of each job that has not ended; there is never more than one."""
        return {attempt.job_id: attempt for attempt in self.attempts}

    def standings(self, job: Job) -> tuple[Standing, ...]:
        """How far that is which a queued job waits for; unread where the snapshot does not say."""
        if job.after_id is None or job.state is not JobState.QUEUED:
            return ()
        return self.dependencies.get(job.after_id, (UNREAD,))

    def estimate(self, job: Job, now: float) -> Estimate | None:
        """How long a job still runs, and who says so; None when nobody does."""
        return estimates.of(job, self.pasts.get(job.id, estimates.NO_PAST), self.attempt_by_job.get(job.id), now)

    @cached_property
    def tenants(self) -> Mapping[ProjectId, str]:
        """Whose jobs may be on a node together: those of projects with equal tenants."""
        return tenancy.tenants(self.projects, {job.project for job in self.jobs})

    def ask_of(self, job: Job) -> Ask:
        """What each node of a job must have, and whose it must be."""
        ask = Ask.of(job.spec.resources)
        tenant = self.tenants.get(job.project, str(job.project))
        return replace(ask, tenant=tenant) if tenant else ask

    @cached_property
    def held(self) -> Mapping[OfferKey, Hold]:
        """Holds by offer."""
        return {hold.offer_key: hold for hold in self.holds}
