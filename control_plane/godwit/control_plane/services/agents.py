"""What agents say: they join, are heard, and fetch what is owed to them. An agent touches its own rows only."""

import hmac
from dataclasses import replace

from godwit.control_plane import credentials
from godwit.control_plane.context import Context
from godwit.control_plane.services import (
    authorities,
    dev,
    health,
    migrations,
    node_access,
    nodes,
    observations,
    replicas,
    returning,
    saving,
    sizes,
)
from godwit.control_plane.store import abilities, entities, queries, restored, usable, writes
from godwit.control_plane.store.database import Transaction
from godwit.domain.arrays import Member
from godwit.domain.errors import Forbidden, Gone, NotFound, Unauthenticated
from godwit.domain.ids import GpuUuid, NodeId
from godwit.domain.intents import FOR_AGENTS, Intent, IntentKind, IntentState
from godwit.domain.jobs import Attempt, AttemptState, JobSpec
from godwit.domain.nodes import Gpu, Node, NodeState
from godwit.domain.resources import GPU_MODELS
from godwit.domain.wire import agents as wire
from godwit.scheduler.placement import offer_refusal
from godwit.scheduler.resizing import bending
from godwit.scheduler.trust import Record

LEAVING = frozenset({NodeState.TERMINATING, NodeState.TERMINATED, NodeState.FAILED})
"""States of a node whose agent is told to go."""

LATE_WITHIN_S = 60.0
"""How much older than the newest heartbeat a late one can be; a clock that is further back was reset by a reboot."""

_TO_READY = (NodeState.PROVISIONING, NodeState.JOINING, NodeState.READY)


def join(context: Context, token: str, request: wire.JoinRequest) -> wire.JoinReply:
    """A booted machine becomes a node. The token works once; the same agent may repeat itself.

    Raises `Unauthenticated` for a token that is not ours, `Forbidden` for a used one, `Gone` for an unwanted node,
    `ProviderUnavailable` where a restored database cannot tell yet.
    """
    now = context.now()
    with context.db.write() as tx:
        returning.adopt(context, tx, token, request, now)
        node = node_of_join_token(context, tx, token)
        is_certified = context.agents_tls is not None and request.csr is not None
        credential = credentials.issue(
            context.keyring, node.id, request.agent_id, now, context.credential_s, certified=is_certified
        )
        known = queries.agent(tx.conn, node.id)
        if known is not None and known.agent_id != request.agent_id:
            raise Forbidden("this join token was used; a machine joins once")
        if node.state in LEAVING:
            raise Gone(f"node {node.id} is {node.state}")
        if known is None:
            writes.add_agent(tx, node.id, request.agent_id, node_access.NO_HASH, now)
            _admit(context, tx, node, request, now)
        writes.heard(tx, node.id, now, now + context.policy.lease_s)
        signed = None
        if is_certified and request.csr is not None:
            signed = authorities.certified(context, tx, node.id, request.agent_id, request.csr)
    return wire.JoinReply(
        node_id=node.id,
        credential=credential,
        heartbeat_s=context.heartbeat_s,
        lease_s=context.policy.lease_s,
        certificate=None if signed is None else signed.certificate,
        authorities=None if signed is None else signed.authorities,
    )


def heartbeat(context: Context, credential: str, request: wire.HeartbeatRequest) -> wire.HeartbeatReply:
    """The agent is heard: its lease is renewed, its observations are counted once, and it learns what is fenced.

    Raises `Unauthenticated`, or `Gone` when the node is not wanted any more: then the agent stops everything.
    """
    now = context.now()
    with context.db.write() as tx:
        node, agent = node_access.authenticate(context, tx, credential)
        if node.state in LEAVING:
            raise Gone(f"node {node.id} is {node.state}")
        renewed = node_access.renewal(context, agent, credential, request, now)
        if agent.credential_hash != node_access.NO_HASH and credentials.is_derived(credential):
            writes.agent_renewed(tx, node.id, node_access.NO_HASH)
        late = 0 < agent.last_sent_at - request.sent_at < LATE_WITHIN_S
        writes.heard(tx, node.id, node.last_seen_at or now if late else now, now + context.policy.lease_s)
        if node.state is NodeState.LOST and not late:
            _heard_again(tx, node, now)
        acknowledged = agent.observed_seq
        for observation in request.observations:
            if observation.seq > acknowledged:
                observations.observe(tx, context.ids, node.id, observation, now)
                acknowledged = observation.seq
        writes.agent_heard(tx, node.id, acknowledged, agent.last_sent_at if late else request.sent_at)
        if not late:
            _end_forgotten(context, tx, node, {live.attempt_id for live in request.attempts}, now)
        fenced = [live.attempt_id for live in request.attempts if _is_fenced(tx, node, live)]
        if fenced:
            returning.note_strays(tx, node, fenced, now)
        last = restored.find(tx.conn) if request.retells else None
    if request.load is not None and not late:
        context.loads.hear(node.id, request.load, now)
    return wire.HeartbeatReply(
        lease_s=context.policy.lease_s,
        heartbeat_s=context.heartbeat_s,
        acknowledged_seq=acknowledged,
        fenced=fenced,
        credential=renewed,
        restored_at=None if last is None else last.restored_at,
    )


def commands(context: Context, credential: str, known: set[str]) -> tuple[str, list[wire.Command]]:
    """The node's id, and the commands owed to it that it does not know of. Raises like `heartbeat`."""
    with context.db.read() as conn:
        node, _ = node_access.authenticate(context, Transaction(conn), credential)
        if node.state in LEAVING:
            raise Gone(f"node {node.id} is {node.state}")
        owed = [i for i in queries.pending_intents(conn, FOR_AGENTS, node.id) if i.id not in known]
        return node.id, [_command(context, Transaction(conn), node, intent) for intent in owed]


def node_of_join_token(context: Context, tx: Transaction, token: str) -> Node:
    """The node whose machine was given this token. Raises `Unauthenticated`."""
    node_id = token.partition(".")[0]
    launches = queries.intents_of(tx.conn, node_id, IntentKind.LAUNCH_NODE)
    expected = [context.keyring.join_token(node_id, launch.id) for launch in launches]
    # As bytes: of texts only ASCII is compared, and anybody may send anything.
    if not any(hmac.compare_digest(token.encode(), candidate.encode()) for candidate in expected):
        raise Unauthenticated("this join token is not valid")
    return queries.node(tx.conn, node_id)


def _admit(context: Context, tx: Transaction, node: Node, request: wire.JoinRequest, now: float) -> None:
    gpus = tuple(Gpu(GpuUuid(g.uuid), g.index, g.model, g.memory_gib) for g in request.gpus)
    gpus = health.recognised(tx, node, gpus, now)
    node = replace(
        node, address=request.address, gpus=gpus, cpus=request.cpus, memory_gib=request.memory_gib, idle_since=now,
        confinement=request.confinement[:500],
    )  # fmt: skip
    said = (request.no_process_saves, request.no_gpu_process_saves)
    node = _kept_where_it_serves(tx, replace(node, offer=abilities.learn(tx, node.offer, *said, now)))
    reason = f"its agent {request.agent_version} joined from {request.address} with {len(gpus)} GPUs"
    reason += f"; programs are confined: {node.confinement}" if node.confinement else ""
    for state in _TO_READY[_TO_READY.index(node.state) + 1 if node.state in _TO_READY else 0 :]:
        node = entities.advance(tx, node, state, reason=reason, actor=_actor(node), now=now)
    wrong = _not_as_paid_for(node)
    if wrong is None:
        writes.experience(tx, node.offer, Record(ready=1, ready_s=now - node.created_at))
        usable.joined(tx, node.offer)
        return
    nodes.unusable(context, tx, node, wrong, now)


def _kept_where_it_serves(tx: Transaction, node: Node) -> Node:
    """A node that cannot do what it was bought for is anybody's."""
    if node.reserved_for is None:
        return node
    wanted = queries.job(tx.conn, node.reserved_for).spec.resources
    return node if offer_refusal(wanted, node.offer, node.id) is None else replace(node, reserved_for=None)


def _not_as_paid_for(node: Node) -> str | None:
    """Say what a machine that joined lacks of what was paid for, or None. Only names that are known are compared."""
    paid = node.offer
    if len(node.gpus) < paid.gpu_count:
        return f"joined with {len(node.gpus)} GPUs, but {paid.gpu_count} were paid for"
    other = next((gpu.model for gpu in node.gpus if gpu.model != paid.gpu_model and gpu.model in GPU_MODELS), None)
    if other is not None and paid.gpu_model in GPU_MODELS:
        return f"joined with {other}, but {paid.gpu_model} was paid for"
    return None


def _heard_again(tx: Transaction, node: Node, now: float) -> None:
    """A lost node is what it was before: what was kept out of the fleet does not come back by a pause in talking."""
    was = queries.state_before(tx.conn, node.id, NodeState.LOST)
    node = entities.advance(tx, node, NodeState.READY, reason="its agent is heard again", actor=_actor(node), now=now)
    if was in {NodeState.CORDONED, NodeState.DRAINING}:
        entities.advance(tx, node, NodeState(was), reason=f"it was {was} before", actor=_actor(node), now=now)


def _is_fenced(tx: Transaction, node: Node, live: wire.LiveAttempt) -> bool:
    try:
        attempt = queries.attempt(tx.conn, live.attempt_id)
    except NotFound:
        return True
    slot = next((s for s in attempt.slots if s.node_id == node.id), None)
    return slot is None or slot.released or attempt.state is AttemptState.ENDED


def _end_forgotten(context: Context, tx: Transaction, node: Node, live: set[str], now: float) -> None:
    """Attempts that were started here and that the agent does not know: its machine or its disk was reset."""
    for attempt in queries.live_attempts_on(tx.conn, node.id):
        slot = next((s for s in attempt.slots if s.node_id == node.id and not s.released), None)
        if slot is None or attempt.id in live or not _was_taken_on(tx, attempt, node.id):
            continue
        reason = f"node {node.id} does not know the attempt any more"
        sizes.lose(tx, context.ids, attempt, node.id, reason, _actor(node), now)


def _was_taken_on(tx: Transaction, attempt: Attempt, node_id: NodeId) -> bool:
    intents = queries.intents_of_attempt(tx.conn, attempt.id, node_id)
    return any(i.kind is IntentKind.START_ATTEMPT and i.state is IntentState.DONE for i in intents)


def _command(context: Context, tx: Transaction, node: Node, intent: Intent) -> wire.Command:
    if intent.kind in {IntentKind.REPAIR_NODE, IntentKind.RUN_CHECKS}:
        return health.order_of(intent)
    if intent.kind is IntentKind.COPY_CHECKPOINT:
        return migrations.order_of(context, tx, intent)
    attempt = queries.attempt(tx.conn, intent.attempt_id or "")
    if intent.kind is IntentKind.STOP_ATTEMPT:
        return wire.StopAttempt(
            intent_id=intent.id,
            job_id=attempt.job_id,
            attempt_id=attempt.id,
            epoch=attempt.epoch,
            grace_s=float(intent.payload.get("grace_s", 0.0)),
            reason=intent.reason,
        )
    job = queries.job(tx.conn, attempt.job_id)
    slot = next(s for s in attempt.slots if s.node_id == node.id)
    store, *former = migrations.stores_of(context, tx, job)
    return wire.StartAttempt(
        intent_id=intent.id,
        job_id=job.id,
        job_name=job.spec.name,
        attempt_id=attempt.id,
        epoch=attempt.epoch,
        rank=slot.rank,
        peers=[wire.Peer(rank=s.rank, node_id=s.node_id, address=s.address) for s in attempt.staying],
        gpus=list(slot.gpus),
        gpu_milli=slot.gpu_milli,
        port=attempt.port,
        ray_token=context.keyring.ray_token(attempt.id),
        process_saves=job.spec.resources.process_saves,
        run=job.spec.run,
        setup=job.spec.setup,
        workdir_digest=job.spec.workdir_digest,
        env=dict(job.spec.env) | _place(job.member) | _size(job.spec),
        store=store,
        former_stores=former,
        saving=saving.of(tx, job.spec.checkpoint, attempt, node, intent.payload),
        preflight=job.spec.preflight.value,
        hang_after_s=job.spec.hang_after_s,
        joins=slot.joining,
        bends=bending.is_in_place(job),
        has_secrets=bool(job.spec.secrets),
        serve=replicas.order_of(job.spec.serving),
        desk=None if job.spec.dev is None else dev.desk_of(job.spec.dev),
    )


def _place(member: Member | None) -> dict[str, str]:
    """What tells the jobs of an array apart."""
    if member is None:
        return {}
    return {"GODWIT_ARRAY_INDEX": str(member.index), "GODWIT_ARRAY_SIZE": str(member.size)}


def _size(spec: JobSpec) -> dict[str, str]:
    """What tells a program how it bends: between how many nodes, and what becomes of its batch."""
    low, high = spec.resources.nodes_min, spec.resources.nodes_max
    if low == high:
        return {}
    return {
        "GODWIT_NODES_MIN": str(low), "GODWIT_NODES_MAX": str(high), "GODWIT_ELASTIC": spec.elastic.value,
        "GODWIT_BATCH": spec.batch.value,
    }  # fmt: skip


def _actor(node: Node) -> str:
    return f"agent {node.id}"
