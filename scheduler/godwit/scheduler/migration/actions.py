"""What a plan may say about migrations."""

from dataclasses import dataclass

from godwit.domain.ids import AttemptId, JobId, MigrationId, NodeId
from godwit.domain.migrations import MigrationState, Sum
from godwit.domain.resources import Infra


@dataclass(frozen=True)
class WishMigration:
    """A running job should move, as the planner weighs it: a migration of it begins, unless one is under way.

    `arithmetic` is the inequality as it was when this was decided. Whoever else has a reason to move a job wishes so.
    """

    job_id: JobId
    from_epoch: int
    to: Infra | None
    arithmetic: Sum
    reason: str


@dataclass(frozen=True)
class MoveMigration:
    """A migration goes on to `to`. A job that is migrating when its migration fails recovers like any other."""

    migration_id: MigrationId
    to: MigrationState
    reason: str
    arithmetic: Sum | None = None


@dataclass(frozen=True)
class CopyAhead:
    """A node that is ready for a job copies its newest checkpoint to its disk, and to the new store if `to_store`."""

    migration_id: MigrationId
    job_id: JobId
    node_id: NodeId
    to_store: bool
    reason: str


@dataclass(frozen=True)
class Migrate:
    """The job is told to save and stop, since `nodes` are ready for it; it starts there once nothing runs here."""

    migration_id: MigrationId
    attempt_id: AttemptId
    job_id: JobId
    nodes: tuple[NodeId, ...]
    reason: str


MigrationAction = WishMigration | MoveMigration | CopyAhead | Migrate
