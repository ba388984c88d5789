"""Fire drills: a fault on purpose, ordered like everything else, as an intent."""

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.store import entities, queries
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.events import Event
from godwit.domain.ids import IntentId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.wire.views import DrillRequest, DrillView
from godwit.scheduler.repair import HEARD_STATES


def order(context: Context, request: DrillRequest, actor: str) -> DrillView:
    """Order a drill. Raises `NotFound`, `Conflict` for a node not in use, `InvalidRequest` where none can be."""
    now = context.now()
    with context.db.write() as tx:
        node = queries.node(tx.conn, request.node_id)
        provider = context.providers.get(node.offer.provider)
        if provider is None or not provider.capabilities.drills:
            raise InvalidRequest(f"provider {node.offer.provider} cannot be drilled; only simulated clouds can")
        if node.state not in HEARD_STATES:
            raise Conflict(f"node {node.id} is {node.state}; drill one that is ready (`godwit nodes`)")
        reason = f"drill {request.kind}, ordered by {actor}"
        intent_id = IntentId(context.ids.new("intent"))
        intent = Intent(intent_id, IntentKind.DRILL_NODE_LOSS, IntentState.PENDING, node.id, now, now, reason)
        ordered = Event(now, "node.drill", "node", node.id, reason, actor, node_id=node.id, data={"kind": request.kind})
        entities.insert(tx, intent, ordered)
        tx.hint(hints.INTENTS)
    return DrillView(intent_id=intent_id, node_id=node.id, kind=request.kind)
