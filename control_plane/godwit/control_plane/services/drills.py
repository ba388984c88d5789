"""Fire drills: a fault on purpose, ordered like everything else, as an intent."""

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.store import entities, queries
from godwit.domain.drills import OF_THE_NODE, OF_THE_WORK, Drill
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.events import Event
from godwit.domain.ids import IntentId
from godwit.domain.intents import Intent, IntentKind, IntentState
from godwit.domain.jobs import AttemptState
from godwit.domain.nodes import Node
from godwit.domain.wire.views import DrillRequest, DrillView
from godwit.scheduler.repair import HEARD_STATES
from sqlalchemy import Connection


def order(context: Context, request: DrillRequest, actor: str) -> DrillView:
    """Order a drill. Raises `NotFound`, `Conflict` for a node not in use, `InvalidRequest` where none can be."""
    now = context.now()
    with context.db.write() as tx:
        node = _node(tx.conn, request)
        provider = context.providers.get(node.offer.provider)
        if provider is None or request.kind not in provider.capabilities.drills:
            possible = () if provider is None else sorted(provider.capabilities.drills)
            able = f"it can with {', '.join(possible)}" if possible else "only simulated clouds can"
            raise InvalidRequest(f"provider {node.offer.provider} cannot be drilled with {request.kind}; {able}")
        if node.state not in HEARD_STATES:
            raise Conflict(f"node {node.id} is {node.state}; drill one that is ready (`godwit nodes`)")
        if request.kind is Drill.SPOT_NOTICE and not node.offer.spot:
            raise InvalidRequest(f"node {node.id} was bought on demand; only spot machines are taken back")
        _check_gpu(request, node)
        reason = f"drill {request.kind}{'' if request.gpu is None else f' of GPU {request.gpu}'}, ordered by {actor}"
        intent_id = IntentId(context.ids.new("intent"))
        payload = {"kind": request.kind, "gpu": request.gpu}
        intent = Intent(
            intent_id, IntentKind.DRILL, IntentState.PENDING, node.id, now, now, reason, payload=payload
        )  # fmt: skip
        ordered = Event(now, "node.drill", "node", node.id, reason, actor, node_id=node.id, data=payload)
        entities.insert(tx, intent, ordered)
        tx.hint(hints.INTENTS)
    return DrillView(intent_id=intent_id, node_id=node.id, kind=request.kind, gpu=request.gpu)


def _node(conn: Connection, request: DrillRequest) -> Node:
    if (request.node_id is None) == (request.job is None):
        raise InvalidRequest("a drill names either a node or a job")
    if request.node_id is not None:
        return queries.node(conn, request.node_id)
    job = queries.job(conn, str(request.job))
    live = [attempt for attempt in queries.attempts_of(conn, job.id) if attempt.state is AttemptState.RUNNING]
    if not live:
        raise Conflict(f"job {job.spec.name} is {job.state}: it has no program to break; drill it while it runs")
    return queries.node(conn, live[-1].head.node_id)


def _check_gpu(request: DrillRequest, node: Node) -> None:
    if request.kind in OF_THE_NODE:
        if request.gpu is not None:
            raise InvalidRequest(f"{request.kind} concerns the whole node; name no GPU")
        return
    known = [gpu.index for gpu in node.gpus]
    if request.gpu is None and request.kind in OF_THE_WORK:
        return
    if request.gpu is None:
        raise InvalidRequest(f"{request.kind} concerns one GPU; name it, as in {node.id}:0")
    if request.gpu not in known:
        raise InvalidRequest(f"node {node.id} has no GPU {request.gpu}; it has {', '.join(map(str, known)) or 'none'}")
