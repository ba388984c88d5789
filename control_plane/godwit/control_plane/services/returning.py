"""After a restore: what runs and is not known is stopped before anything starts, and machines become nodes again.

The database forgot what happened since the backup; the fleet did not. Two things follow. Nothing starts before every
program that the database does not know of is certainly over: its node says so, or its lease has run out. And a machine
that was bought meanwhile proves by its join token that it is ours: the token is derived from its launch token, which
its provider lists, and from the key of the home, which lies in the backup.
"""

import hmac
from collections.abc import Sequence
from dataclasses import replace

from godwit.control_plane.context import Context
from godwit.control_plane.store import entities, queries, restored, schema
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.store.restored import Orphan, Seen
from godwit.domain.errors import Gone, NotFound, ProviderUnavailable
from godwit.domain.events import Event
from godwit.domain.ids import InstanceId, IntentId, NodeId, ProviderName
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.wire import agents as wire
from sqlalchemy import Connection, select

STRAYS_END_S = 120.0
"""For how long a node may go on with what the database does not know, once it was told to stop it: programs are killed
at once, and a node takes seconds to say so. After this it is sent away, and its lease runs out."""


def note_strays(tx: Transaction, node: Node, fenced: Sequence[str], now: float) -> None:
    """Take note of attempts of a heartbeat that the database does not know, among those that the node is told to stop.

    Raises `Gone` for a node that does not stop them.
    """
    table = schema.attempts
    known = set(tx.conn.execute(select(table.c.id).where(table.c.id.in_(fenced))).scalars())
    unknown = [attempt_id for attempt_id in fenced if attempt_id not in known]
    if not unknown:
        return
    strays = restored.strays(tx.conn)
    seen = strays.get(node.id)
    if seen is not None and now - seen.first_at > STRAYS_END_S:
        raise Gone(
            f"node {node.id} goes on with {', '.join(unknown[:3])}, which it was told to stop {STRAYS_END_S} s ago"
        )
    restored.put_strays(tx, {**strays, node.id: Seen(now if seen is None else seen.first_at, now)})
    if seen is None:
        reason = f"it runs {', '.join(unknown[:3])}, of which this database knows nothing, and was told to stop that"
        data = {"attempts": unknown[:20]}
        entities.append(
            tx, Event(now, "node.stray", "node", node.id, reason, "control plane", node_id=node.id, data=data)
        )


def quiet_until(context: Context) -> float | None:
    """Until when nothing may be planned; None when all may be. Asked before each plan, it also ends the wait."""
    with context.db.read() as conn:
        until = _until(context, conn)
    if until is None or context.now() < until:
        return until
    with context.db.write() as tx:
        until = _until(context, tx.conn)
        if until is not None and context.now() < until:
            return until
        _settle(tx, context.now())
    return None


def _until(context: Context, conn: Connection) -> float | None:
    last, strays = restored.find(conn), restored.strays(conn)
    since = [seen.last_at for seen in strays.values()]
    if last is not None and last.settled_at is None:
        # Until then the former control plane may have renewed leases.
        since.append(max(context.serving_since, last.restored_at))
    return max(since) + context.policy.lease_s + context.policy.lease_margin_s if since else None


def _settle(tx: Transaction, now: float) -> None:
    last = restored.find(tx.conn)
    restored.put_strays(tx, {})
    if last is not None and last.settled_at is None:
        restored.put(tx, replace(last, settled_at=now))
        reason = "nothing that began after the backup can run any more; planning goes on"
        entities.append(tx, Event(now, "database.settled", "database", "database", reason, "control plane"))


def adopt(context: Context, tx: Transaction, token: str, request: wire.JoinRequest, now: float) -> None:
    """Make a node of a machine that was bought after the backup, if `token` proves it; else do nothing.

    Raises `ProviderUnavailable` while its provider was not listed since the restore: the agent asks again.
    """
    last, node_id = restored.find(tx.conn), token.partition(".")[0]
    if last is None or _is_known(tx, node_id):
        return
    by_provider = {name: restored.orphans(tx.conn, name) for name in context.providers}
    for provider, orphans in by_provider.items():
        for orphan in orphans or ():
            if hmac.compare_digest(context.keyring.join_token(node_id, orphan.token).encode(), token.encode()):
                _admit(tx, provider, orphan, NodeId(node_id), request, now)
                return
    if None in by_provider.values():
        raise ProviderUnavailable("a provider was not listed yet since the database was restored; join again soon")


def _is_known(tx: Transaction, node_id: str) -> bool:
    try:
        queries.node(tx.conn, node_id)
    except NotFound:
        return False
    return True


def _admit(
    tx: Transaction, provider: ProviderName, orphan: Orphan, node_id: NodeId, request: wire.JoinRequest, now: float
) -> None:
    offer = _offer(tx, provider, orphan, request, now)
    reason = f"instance {orphan.id} at {provider} was bought after the backup, and its agent came back"
    node = Node(node_id, offer, NodeState.REQUESTED, orphan.created_at, now, instance_id=InstanceId(orphan.id))
    born = Event(
        now, "node.state", "node", node_id, reason, f"agent {node_id}", new=NodeState.REQUESTED, node_id=node_id,
        data={"offer": offer.key, "price_usd_per_hour": offer.price_usd_per_hour, "instance": orphan.id},
    )  # fmt: skip
    entities.insert(tx, node, born)
    launch = Intent(
        IntentId(orphan.token), IntentKind.LAUNCH_NODE, IntentState.DONE, node_id, orphan.created_at, now, reason,
        tries=1, detail=f"instance {orphan.id}",
    )  # fmt: skip
    entities.insert(tx, launch)


def _offer(tx: Transaction, provider: ProviderName, orphan: Orphan, request: wire.JoinRequest, now: float) -> Offer:
    """What it was bought as: the offer of its type and place, at its own price, or else what its agent found."""
    gpus = request.gpus
    bare = Offer(
        provider, orphan.region, orphan.zone, orphan.instance_type, gpus[0].model if gpus else None, len(gpus),
        gpus[0].memory_gib if gpus else 0.0, request.cpus, request.memory_gib, orphan.price_usd_per_hour,
        spot=orphan.spot, seen_at=now, source="instance",
    )  # fmt: skip
    sold = next((one for one in queries.offers(tx.conn, provider) if one.key == bare.key), bare)
    return replace(sold, price_usd_per_hour=orphan.price_usd_per_hour or sold.price_usd_per_hour)
