"""Which nodes a gang gets: all of it or none, in one fabric domain unless the job says that any network will do."""

from collections.abc import Iterator
from itertools import groupby

from godwit.domain.jobs import Fabric, Job, Resources, Slot
from godwit.domain.nodes import NodeState
from godwit.domain.offers import Offer
from godwit.scheduler.fleet import Fleet, FreeNode, cpus_of
from godwit.scheduler.reasons import Code, Refusal


def offer_refusal(resources: Resources, offer: Offer, subject: str) -> Refusal | None:  # noqa: PLR0911 - a list of checks
    """Say why machines of this offer can never serve `resources`, or None when they can. Checks run cheapest first."""
    ask = resources.gpus
    if resources.infra and not any(i.covers(offer.provider, offer.region, offer.zone) for i in resources.infra):
        allowed = ", ".join(str(i) for i in resources.infra)
        return Refusal(Code.NOT_ALLOWED_THERE, subject, f"infra allows only {allowed}", "widen resources.infra")
    if offer.spot and resources.spot == "never":
        return Refusal(Code.WRONG_MARKET, subject, "spot, and the job says never", "resources.spot: auto")
    if not offer.spot and resources.spot == "only":
        return Refusal(Code.WRONG_MARKET, subject, "on-demand, and the job wants spot only", "resources.spot: auto")
    if ask.count and (offer.gpu_model is None or not ask.accepts(offer.gpu_model, offer.gpu_memory_gib)):
        have = f"{offer.gpu_model or 'no GPU'}, {offer.gpu_memory_gib:g} GiB"
        return Refusal(Code.WRONG_GPU, subject, f"has {have}, not {ask}", "accept more models in resources.gpus")
    if offer.gpu_count < ask.count:
        return Refusal(
            Code.TOO_FEW_GPUS,
            subject,
            f"has {offer.gpu_count} GPUs per node, {ask.count} asked",
            "fewer GPUs, more nodes",
        )
    if offer.cpus < cpus_of(resources) or offer.memory_gib < resources.memory_gib:
        have = f"{offer.cpus} CPUs and {offer.memory_gib:g} GiB"
        return Refusal(Code.TOO_SMALL, subject, f"has {have} per node", "ask for fewer CPUs or less memory")
    return None


def node_refusal(job: Job, free: FreeNode) -> Refusal | None:
    """Say why `job` cannot start on this node now, or None when it can. Pure; checks run cheapest first."""
    resources, node = job.spec.resources, free.node
    unsuited = offer_refusal(resources, node.offer, f"node {node.id}")
    if unsuited is not None:
        return unsuited
    if node.state is not NodeState.READY:
        return Refusal(Code.NOT_READY, f"node {node.id}", f"is {node.state}", "wait until it is ready")
    if free.reserved_for not in {None, job.id}:
        return Refusal(Code.RESERVED, f"node {node.id}", f"was bought for job {free.reserved_for}", "wait for that job")
    if len(free.gpus) < resources.gpus.count:
        return Refusal(
            Code.BUSY,
            f"node {node.id}",
            f"{len(free.gpus)} GPUs free, {resources.gpus.count} asked",
            "wait, or add nodes",
        )
    if free.cpus < cpus_of(resources) or free.memory_gib < resources.memory_gib:
        return Refusal(Code.BUSY, f"node {node.id}", "its CPUs or memory are taken", "wait, or add nodes")
    return None


def groups(resources: Resources, nodes: list[FreeNode]) -> Iterator[list[FreeNode]]:
    """Sets of nodes that one gang may be spread over: of one GPU model, and of one fabric domain unless any will do."""

    def key(free: FreeNode) -> tuple[str, ...]:
        model = free.node.offer.gpu_model or "" if resources.gpus.count else ""
        alone = resources.nodes_max == 1 or resources.fabric is Fabric.ANY
        return (model,) if alone else (model, *free.fabric)

    for _, group in groupby(sorted(nodes, key=lambda free: (key(free), free.node.id)), key=key):
        yield list(group)


def place(job: Job, fleet: Fleet) -> tuple[Slot, ...] | None:
    """The slots of a gang on nodes that are free now, or None when no group of nodes holds it.

    Among groups the one with the least left over wins (best fit), then the cheaper; within a group, likewise. Ties
    fall to the smaller node id, so that equal snapshots give equal plans.
    """
    resources = job.spec.resources
    fitting = [free for free in fleet.by_id.values() if node_refusal(job, free) is None]
    best: tuple[tuple[float, float, str], list[FreeNode]] | None = None
    for group in groups(resources, fitting):
        if len(group) < resources.nodes_min:
            continue
        chosen = sorted(group, key=lambda free: _tightness(job, free))[: resources.nodes_max]
        left_over = float(sum(len(free.gpus) - resources.gpus.count for free in chosen))
        price = sum(free.node.offer.price_usd_per_gpu_hour for free in chosen) / len(chosen)
        score = (left_over, price, chosen[0].node.id)
        if best is None or score < best[0]:
            best = (score, chosen)
    return None if best is None else tuple(_slot(rank, free, resources) for rank, free in enumerate(best[1]))


def _tightness(job: Job, free: FreeNode) -> tuple[bool, int, float, str]:
    return (free.reserved_for != job.id, len(free.gpus), free.node.offer.price_usd_per_hour, free.node.id)


def _slot(rank: int, free: FreeNode, resources: Resources) -> Slot:
    gpus = tuple(sorted(free.gpus)[: resources.gpus.count])
    return Slot(free.node.id, rank, gpus, free.node.address or "")
