"""Migrations as the API shows them: what was predicted, and what was measured since."""

from collections import Counter

from godwit.control_plane.store import queries
from godwit.domain.jobs import Job
from godwit.domain.migrations import Migration, Sum
from godwit.domain.resources import Infra
from godwit.domain.wire.migrations import MeasuredView, MigrationPlan, MigrationView, SumView
from godwit.scheduler.migration import measured
from godwit.scheduler.migration.targets import Target
from sqlalchemy import Connection


def plan(job: Job, found: Target | str, to: Infra | None) -> MigrationPlan:
    """Where a job would go now."""
    if isinstance(found, str):
        return MigrationPlan(job_id=job.id, job_name=job.spec.name, why_not=found)
    buys = Counter(str(offer.key) for offer in found.purchase.buy)
    return MigrationPlan(
        job_id=job.id, job_name=job.spec.name, to=str(to or "wherever it costs least"), buys=dict(buys),
        keeps=list(found.purchase.keep), price_usd_per_hour=round(found.purchase.price_usd_per_hour, 4),
        sum=_sum(found.sum),
    )  # fmt: skip


def migration(conn: Connection, of: Migration, now: float) -> MigrationView:
    """One migration, with what came of it so far once it is done."""
    return MigrationView(
        id=of.id, job_id=of.job_id, state=of.state, created_at=of.created_at, state_since=of.state_since,
        actor=of.actor, reason=of.reason, from_epoch=of.from_epoch, to=None if of.to is None else str(of.to),
        store=of.store, nodes=list(of.nodes), moved_bytes=of.moved_bytes, downtime_s=of.downtime_s, detail=of.detail,
        sum=None if of.sum == Sum() else _sum(of.sum), measured=_measured(conn, of, now),
    )  # fmt: skip


def _sum(of: Sum) -> SumView:
    return SumView(
        from_usd_per_hour=of.from_usd_per_hour, to_usd_per_hour=of.to_usd_per_hour,
        saving_usd_per_hour=of.saving_usd_per_hour, left_h=of.left_h, left_by=of.left_by, saving_usd=of.saving_usd,
        overlap_usd=of.overlap_usd, standstill_usd=of.standstill_usd, egress_usd=of.egress_usd, cost_usd=of.cost_usd,
        checkpoint_bytes=of.checkpoint_bytes, text=str(of),
    )  # fmt: skip


def _measured(conn: Connection, of: Migration, now: float) -> MeasuredView | None:
    if of.working_at is None:
        return None
    attempts = queries.attempts_of(conn, of.job_id)
    nodes = [queries.node(conn, slot.node_id) for a in attempts if a.epoch == of.from_epoch for slot in a.slots]
    found = measured.measured(of, attempts, nodes, now)
    return None if found is None else MeasuredView(
        hours=found.hours, saving_usd=found.saving_usd, overlap_usd=found.overlap_usd,
        standstill_usd=found.standstill_usd, egress_usd=found.egress_usd, cost_usd=found.cost_usd,
        net_usd=found.net_usd,
    )  # fmt: skip
