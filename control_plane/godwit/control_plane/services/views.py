"""Domain values as the API shows them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Literal

from godwit.control_plane.contacts import Contact
from godwit.control_plane.loads import NodeLoads
from godwit.control_plane.store import entities
from godwit.domain import times
from godwit.domain.afters import When
from godwit.domain.events import Event
from godwit.domain.jobs import Attempt, AttemptState, CheckpointPolicy, Job, JobKind, JobSpec, Progress
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.domain.wire import dev, views
from godwit.domain.wire.arrays import DependencyView, EstimateView, FeasibilityView
from godwit.domain.wire.providers import CallsView, ProviderView
from godwit.domain.wire.serving import shown
from godwit.domain.wire.specs import PRIORITIES, AfterSpec, CheckpointSpec, JobSpecIn, ResourcesSpec, RetriesSpec
from godwit.providers.layers import measuring
from godwit.scheduler import feasibility as feasible
from godwit.scheduler.dependencies import Standing
from godwit.scheduler.estimates import Estimate
from godwit.scheduler.feasibility import Answer, Verdict
from godwit.scheduler.outlook import Outlook
from godwit.scheduler.plan import Action, AskToLeave, BuyNode, Preempt, StartAttempt
from godwit.scheduler.reasons import Refusal
from godwit.scheduler.snapshot import Hold
from sqlalchemy import Row


def job_summary(row: Row[Any]) -> dict[str, Any]:
    """A row of `job_lists.page` as the fields of a `JobView`; plain, because long lists are asked for often."""
    progress = entities.progress_from(row.progress)
    return {
        "id": row.id, "name": row.name, "project": row.project, "kind": row.kind, "state": row.state,
        "gpus": row.gpus, "nodes": row.nodes, "priority": row.priority, "created_at": row.created_at,
        "state_since": row.state_since, "epoch": row.epoch, "interruptions": row.interruptions,
        "progress": None if progress is None else _progress(progress).model_dump(), "exit_code": row.exit_code,
        "detail": row.detail, "deadline_at": row.deadline_at, "budget_usd": row.budget_usd,
        "nodes_wanted": row.nodes_wanted,
        "array": None if row.array_id is None else _member(row.array_id, row.array_index, row.array_size),
    }  # fmt: skip


def job(of: Job) -> views.JobView:
    """A job in short."""
    return views.JobView(**_job_fields(of))


def job_detail(
    of: Job,
    attempts: Iterable[Attempt],
    checkpoints: Iterable[Row[Any]],
    after: Iterable[Standing] = (),
    began: Mapping[str, float] = MappingProxyType({}),
) -> views.JobDetail:
    """A job with everything that belongs to it."""
    return views.JobDetail(
        **_job_fields(of),
        spec=spec(of.spec),
        after=[dependency(standing) for standing in after],
        attempts=[attempt(a, began.get(a.id)) for a in attempts],
        checkpoints=[
            views.CheckpointView(
                step=c.step, epoch=c.epoch, at=c.at, size_bytes=c.size_bytes, files=c.files, manifest_url=c.manifest_url
            )
            for c in checkpoints
        ],
    )


def _job_fields(of: Job) -> dict[str, Any]:
    return {
        "id": of.id, "name": of.spec.name, "project": of.project, "kind": of.spec.kind, "state": of.state,
        "gpus": str(of.spec.resources.gpus), "nodes": entities.nodes_text(of.spec.resources),
        "priority": of.spec.priority, "created_at": of.created_at, "state_since": of.state_since, "epoch": of.epoch,
        "interruptions": of.interruptions, "progress": None if of.progress is None else _progress(of.progress),
        "exit_code": of.exit_code, "detail": of.detail, "deadline_at": of.spec.deadline_at,
        "budget_usd": of.spec.budget_usd, "nodes_wanted": of.nodes_wanted,
        "array": None if of.member is None else _member(of.member.array_id, of.member.index, of.member.size),
    }  # fmt: skip


def _member(array_id: str, index: int, size: int) -> dict[str, Any]:
    return {"id": array_id, "index": index, "size": size}


def _progress(of: Progress) -> views.ProgressView:
    return views.ProgressView(step=of.step, total_steps=of.total_steps, metrics=dict(of.metrics), at=of.at)


def spec(of: JobSpec) -> JobSpecIn:
    """A specification as its owner would write it."""
    ask = of.resources.gpus
    return JobSpecIn(
        kind=of.kind.value,
        name=of.name,
        run=of.run,
        setup=of.setup,
        workdir_digest=of.workdir_digest,
        env=dict(of.env),
        resources=ResourcesSpec(
            gpus=[f"{model}:{ask.count}" for model in ask.models] or ask.count,
            nodes=entities.nodes_text(of.resources)
            if of.resources.nodes_min != of.resources.nodes_max
            else of.resources.nodes_min,
            cpus=of.resources.cpus,
            memory=f"{_plain(ask.memory_gib_min)}GB+" if ask.memory_gib_min else None,
            memory_gib=of.resources.memory_gib,
            infra=[str(i) for i in of.resources.infra],
            spot=of.resources.spot.value,
            fabric=of.resources.fabric.value,
        ),
        checkpoint=_checkpoint(of.checkpoint, process_saves=of.resources.process_saves),
        retries=RetriesSpec(max=of.retries.max),
        priority=next((word for word, value in PRIORITIES.items() if value == of.priority), of.priority),
        after=[AfterSpec(job=a.job, when=a.when.value) if a.when is not When.SUCCEEDED else a.job for a in of.after],
        run_time=None if of.run_time_s is None else times.duration_text(of.run_time_s),
        deadline=None if of.deadline_at is None else times.instant_text(of.deadline_at),
        budget_usd=of.budget_usd,
        preemptible=of.preemptible,
        preflight=of.preflight.value,
        hang_after=_hang_after(of.hang_after_s if of.kind is JobKind.TRAIN else None),
        elastic=of.elastic.value,
        batch=of.batch.value,
        project=of.project,
        **({} if of.serving is None else shown(of.serving)),
        **({} if of.dev is None else dev.shown(of.dev)),
    )


def _hang_after(seconds: float | None) -> str:
    return "auto" if seconds is None else times.duration_text(seconds) if seconds else "off"


def _checkpoint(of: CheckpointPolicy, *, process_saves: bool) -> CheckpointSpec:
    bounds = [times.duration_text(bound) for bound in (of.shortest_s, of.longest_s) if bound is not None]
    # Both are set or neither; a fixed interval has the same bound twice.
    interval = "..".join(dict.fromkeys(bounds)) or "auto"
    mode: Literal["program", "process"] = "process" if process_saves else "program"
    return CheckpointSpec(mode=mode, store=of.store, interval=interval, keep=of.keep)


def _plain(number: float) -> str:
    """A number without an exponent, and without zeros that say nothing: 80, 0.5."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def attempt(of: Attempt, began_at: float | None = None) -> views.AttemptView:
    """One placement of a job, whose program began to run at `began_at`."""
    slots = [
        views.SlotView(node_id=s.node_id, rank=s.rank, gpus=list(s.gpus), released=s.released)
        for s in (*of.slots, *of.left)
    ]
    return views.AttemptView(
        id=of.id, epoch=of.epoch, state=of.state, outcome=of.outcome, detail=of.detail, created_at=of.created_at,
        state_since=of.state_since, slots=slots, started_at=began_at,
        ended_at=of.state_since if of.state is AttemptState.ENDED else None,
    )  # fmt: skip


def node(of: Node, holders: Mapping[tuple[str, int], Attempt], loads: NodeLoads) -> views.NodeView:
    """A node; `holders` says which attempt holds which GPU of which node, `loads` how hard each works."""
    gpus, told = [], loads.get(of.id, {})
    for gpu in of.gpus:
        holder, load = holders.get((of.id, gpu.index)), told.get(gpu.index)
        gpus.append(
            views.GpuView(
                index=gpu.index, uuid=gpu.uuid, model=gpu.model, memory_gib=gpu.memory_gib, health=gpu.health,
                attempt_id=None if holder is None else holder.id, job_id=None if holder is None else holder.job_id,
                busy_percent=None if load is None else load.busy_percent,
            )
        )  # fmt: skip
    return views.NodeView(
        id=of.id, state=of.state, provider=of.offer.provider, region=of.offer.region,
        instance_type=of.offer.instance_type, instance_id=of.instance_id, address=of.address, spot=of.offer.spot,
        price_usd_per_hour=of.offer.price_usd_per_hour, created_at=of.created_at, state_since=of.state_since,
        last_seen_at=of.last_seen_at, gpus=gpus, leaves_at=of.leaves_at, detail=of.detail, confinement=of.confinement,
    )  # fmt: skip


def holders(attempts: Iterable[Attempt]) -> dict[tuple[str, int], Attempt]:
    """Which attempt holds which GPU: (node id, GPU index) to attempt."""
    return {(s.node_id, gpu): a for a in attempts for s in a.slots if not s.released for gpu in s.gpus}


def offer(of: Offer, hold: Hold | None, trust: float) -> views.OfferView:
    """An offer, whether it is passed over now, and how far it is trusted."""
    return views.OfferView(
        key=of.key, provider=of.provider, region=of.region, zone=of.zone, instance_type=of.instance_type,
        gpu_model=of.gpu_model, gpu_count=of.gpu_count, gpu_memory_gib=of.gpu_memory_gib, cpus=of.cpus,
        memory_gib=of.memory_gib, price_usd_per_hour=of.price_usd_per_hour,
        price_usd_per_gpu_hour=of.price_usd_per_gpu_hour, spot=of.spot, capacity=of.capacity, seen_at=of.seen_at,
        source=of.source, held_until=None if hold is None else hold.until,
        held_because=None if hold is None else hold.reason, trust=round(trust, 4),
    )  # fmt: skip


def provider(name: str, offers: int, nodes: int, of: Contact, recent: Sequence[measuring.Call]) -> ProviderView:
    """A provider: what it sells and holds, how the last look at it went, and how the recent calls to it did."""
    methods = sorted({call.method for call in recent})
    return ProviderView(
        name=name, reachable=not of.trouble, offers=offers, nodes=nodes, last_contact_at=of.listed_at,
        detail=of.trouble, offers_at=of.offers_at, offers_trouble=of.offers_trouble,
        offers_trouble_since=of.offers_trouble_since, foreign=of.foreign, foreign_ids=list(of.foreign_ids),
        calls=_calls(recent),
        calls_by_method={method: _calls([call for call in recent if call.method == method]) for method in methods},
    )  # fmt: skip


def _calls(of: Sequence[measuring.Call]) -> CallsView:
    found = measuring.figures(of)
    return CallsView(
        window_s=measuring.WINDOW_S, calls=found.calls, errors=dict(found.errors), median_s=found.median_s,
        p99_s=found.p99_s,
    )  # fmt: skip


def event(of: Event) -> views.EventView:
    """An event."""
    return views.EventView(
        seq=of.seq, at=of.at, kind=of.kind, subject=of.subject, subject_id=of.subject_id, reason=of.reason,
        actor=of.actor, old=of.old, new=of.new, job_id=of.job_id, node_id=of.node_id, data=dict(of.data),
    )  # fmt: skip


def outlook(of: Outlook | None) -> views.OutlookView | None:
    """An outlook, if there is one."""
    return None if of is None else views.OutlookView(**asdict(of))


def estimate(of: Estimate | None) -> EstimateView | None:
    """How long a job still runs, if anybody says so."""
    return None if of is None else EstimateView(left_s=round(of.left_s, 1), source=of.source)


def feasibility(of: Answer | None) -> FeasibilityView | None:
    """Whether a job keeps to its limits, if it has any."""
    if of is None:
        return None
    verdict = FEASIBLE[of.verdict]
    return FeasibilityView(verdict=verdict, short_by=round(of.short_by, 4), answer=feasible.words(of))


FEASIBLE: Mapping[Verdict, Literal["no", "unknown", "likely", "yes"]] = {
    Verdict.NO: "no",
    Verdict.UNKNOWN: "unknown",
    Verdict.LIKELY: "likely",
    Verdict.YES: "yes",
}


def dependency(of: Standing) -> DependencyView:
    """Something that a job waits for."""
    on = of.dependency
    return DependencyView(id=on.on, name=on.name, when=on.when.value, states=dict(of.states))


def refusal(of: Refusal) -> views.RefusalView:
    """A refusal."""
    return views.RefusalView(
        code=of.code, subject=of.subject, message=of.message, would_help=of.would_help, retry_at=of.retry_at
    )


def action(of: Action) -> views.ActionView:
    """An action of a plan, for a person."""
    if isinstance(of, BuyNode):
        return views.ActionView(
            action="buy-node", reason=of.reason, offer=of.offer.key, price_usd_per_hour=of.offer.price_usd_per_hour,
            arithmetic=of.arithmetic,
        )  # fmt: skip
    if isinstance(of, Preempt | AskToLeave):
        return views.ActionView(action="preempt", reason=of.reason, job_id=of.job_id)
    if isinstance(of, StartAttempt):
        where = ", ".join(slot.node_id for slot in of.slots)
        return views.ActionView(action="start", reason=of.reason, node_id=where)
    return views.ActionView(action="keep-node", reason=of.reason, node_id=getattr(of, "node_id", None))
