"""What agents are told of replicas, and what they say of them."""

from dataclasses import replace

from godwit.control_plane.store import entities, queries
from godwit.control_plane.store import services as stored
from godwit.control_plane.store.database import Transaction
from godwit.domain.jobs import Attempt, AttemptState, Slot
from godwit.domain.nodes import Node
from godwit.domain.services import ReplicaState
from godwit.domain.serving import Probe, Serving
from godwit.domain.wire.replicas import Ask, ReplicaSeen, Serve


def order_of(serving: Serving | None) -> Serve | None:
    """What the agent of a replica has to do; None for what is no replica."""
    if serving is None:
        return None
    liveness = None if serving.liveness is None else _ask(serving.liveness)
    return Serve(port=serving.port, readiness=_ask(serving.readiness), liveness=liveness, ray=serving.ray)


def _ask(probe: Probe) -> Ask:
    return Ask(path=probe.path, period_s=probe.period_s, timeout_s=probe.timeout_s, failures=probe.failures)


def seen(tx: Transaction, attempt: Attempt, slot: Slot, said: ReplicaSeen, now: float) -> None:
    """A replica takes requests, or does not any more. What is draining or gone stays so; stale attempts say nothing."""
    replica = stored.replica(tx.conn, attempt.job_id)
    job = queries.job(tx.conn, attempt.job_id)
    if replica is None or slot.rank != 0 or job.epoch != attempt.epoch or attempt.state is not AttemptState.RUNNING:
        return
    actor = f"agent {slot.node_id}"
    if said.ready and replica.state is ReplicaState.STARTING:
        host = f"[{slot.address}]" if ":" in slot.address else slot.address
        replica = replace(
            replica, attempt_id=attempt.id, url=f"http://{host}:{said.port}", detail="",
            zone=zone_of(queries.node(tx.conn, slot.node_id)), ready_at=replica.ready_at or now,
        )  # fmt: skip
        entities.advance(tx, replica, ReplicaState.READY, reason="it takes requests", actor=actor, now=now)
    elif not said.ready and replica.state is ReplicaState.READY:
        reason = f"it takes no requests: {said.detail}"
        entities.advance(
            tx, replace(replica, detail=said.detail), ReplicaState.STARTING, reason=reason, actor=actor, now=now
        )


def zone_of(node: Node) -> str:
    """Where a node is, as far as its failures are shared: provider/region/zone."""
    offer = node.offer
    return "/".join(part for part in (offer.provider, offer.region, offer.zone) if part)
