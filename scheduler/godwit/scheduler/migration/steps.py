"""What happens next to each migration. Pure rules over one snapshot; nothing here buys (`targets` does).

    planned ──targets──▶ preparing: nodes come, each copies the newest checkpoint ahead ──▶ switching: the job saves and
    stops, its GPUs are released by proof, it starts on the nodes kept for it ──▶ done, when it works there

Before switching nothing that goes wrong touches the job. After it the job waits like any other, with nodes kept for it;
if these are lost it recovers like any other. That it runs once is the matter of leases and epochs, as always.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from godwit.domain import lifecycle
from godwit.domain.jobs import Attempt, AttemptState, Job, JobState
from godwit.domain.migrations import Migration, MigrationState
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.asks import Ask
from godwit.scheduler.health import attribution
from godwit.scheduler.migration import targets
from godwit.scheduler.migration.actions import CopyAhead, Migrate, MoveMigration
from godwit.scheduler.plan import Action
from godwit.scheduler.snapshot import Snapshot


@dataclass(frozen=True)
class _Case:
    """One migration, and what it is about."""

    migration: Migration
    snapshot: Snapshot
    now: float

    @cached_property
    def job(self) -> Job | None:
        return self.snapshot.job_by_id.get(self.migration.job_id)

    @cached_property
    def attempt(self) -> Attempt | None:
        return self.snapshot.attempt_by_job.get(self.migration.job_id)

    @cached_property
    def held(self) -> list[Node]:
        return targets.held(self.snapshot, self.migration)

    @property
    def is_overdue(self) -> bool:
        return lifecycle.is_overdue(self.migration.state, self.migration.state_since, self.now)

    def move(self, to: MigrationState, reason: str) -> MoveMigration:
        return MoveMigration(self.migration.id, to, reason)


def steps(snapshot: Snapshot, now: float) -> Iterator[Action]:
    """What is to be done now for each migration that is under way."""
    for migration in snapshot.migrations:
        if migration.state is MigrationState.SWITCHING:
            yield from _switching(_Case(migration, snapshot, now))
        elif not lifecycle.is_final(migration.state):
            yield from _before(_Case(migration, snapshot, now))


def next_deadlines(snapshot: Snapshot) -> Iterator[float]:
    """Instants at which time alone may change what the rules above answer."""
    for migration in snapshot.migrations:
        deadline = lifecycle.DEADLINES.get(migration.state)
        if deadline is not None and deadline.after_s is not None:
            yield migration.state_since + deadline.after_s


def _before(case: _Case) -> Iterator[Action]:
    """The job still runs where it was."""
    migration, attempt, job = case.migration, case.attempt, case.job
    if job is None or attempt is None or job.cancel_requested or lifecycle.is_final(job.state):
        yield case.move(MigrationState.CANCELLED, "the job does not run any more")
    elif attempt.epoch != migration.from_epoch or attempt.outcome is not None:
        yield case.move(MigrationState.CANCELLED, f"attempt {migration.from_epoch} ended before the job could move")
    elif case.is_overdue:
        yield case.move(MigrationState.FAILED, f"it was {migration.state} for too long; the job runs on where it is")
    elif migration.state is MigrationState.PREPARING:
        yield from _preparing(case, job, attempt)


def _preparing(case: _Case, job: Job, attempt: Attempt) -> Iterator[Action]:
    migration, needed = case.migration, targets.size(attempt)
    fit = [node for node in case.held if _is_fit(node, job, case.snapshot)]
    if migration.copies and len(case.held) < needed:
        why = f"{needed - len(case.held)} of the nodes that were ready for it were lost; the job runs on where it is"
        yield case.move(MigrationState.FAILED, why)
        return
    if len(fit) < needed:
        return  # they boot, or are tested; `targets` buys what is missing
    going = fit[:needed]
    missing = [node for node in going if node.id not in migration.copies]
    if missing:
        first = min(node.id for node in going)
        reason = "its newest checkpoint is copied ahead, while it runs"
        for node in missing:
            to_store = migration.store is not None and node.id == first
            yield CopyAhead(migration.id, job.id, node.id, to_store, reason)
        return
    copies = [migration.copies[node.id] for node in going]
    failed = next((copy for copy in copies if copy.worked is False), None)
    if failed is not None and migration.store is not None:
        yield case.move(MigrationState.FAILED, f"its checkpoints cannot be copied: {failed.detail}")
    elif all(copy.worked is not None for copy in copies) and _may_stop(job, attempt):
        names = tuple(node.id for node in going)
        reason = f"its nodes are ready ({', '.join(names)}); told to save and stop"
        yield Migrate(migration.id, attempt.id, job.id, names, reason)


def _switching(case: _Case) -> Iterator[Action]:
    migration, attempt, job = case.migration, case.attempt, case.job
    if job is None or lifecycle.is_final(job.state) or job.state is JobState.STOPPING:
        yield case.move(MigrationState.CANCELLED, "the job ended before it moved")
    elif job.epoch == migration.from_epoch:
        lost = len(migration.nodes) - len([node for node in case.held if node.id in migration.nodes])
        if job.state is not JobState.MIGRATING:
            yield case.move(MigrationState.FAILED, f"the job is {job.state}")
        elif lost or case.is_overdue:
            why = f"{lost} of its nodes were lost" if lost else "it did not start there in time"
            yield case.move(MigrationState.FAILED, f"{why}; it goes on from its checkpoint, wherever there is room")
    elif attempt is None or attempt.outcome is not None:
        detail = "" if attempt is None else f": {attempt.detail}"
        yield case.move(MigrationState.FAILED, f"attempt {job.epoch} ended before it worked there{detail}")
    elif case.is_overdue and attempt.state is AttemptState.RUNNING:
        yield case.move(MigrationState.DONE, "its program runs there, and tells of no steps")


def _may_stop(job: Job, attempt: Attempt) -> bool:
    runs = job.state is JobState.RUNNING and attempt.state is AttemptState.RUNNING and attempt.failed_at is None
    return runs and not attempt.is_changing


def _is_fit(node: Node, job: Job, snapshot: Snapshot) -> bool:
    """Whether the job may start there now."""
    if node.state is not NodeState.READY or node.id in attribution.barred(snapshot):
        return False
    healthy = sum(gpu.health is Health.HEALTHY for gpu in node.gpus)
    return healthy >= Ask.of(job.spec.resources).gpus
