"""What agents say of health becomes findings, and answers to what was ordered."""

import structlog
from godwit.control_plane.store.database import Transaction
from godwit.domain.ids import IdSource, NodeId
from godwit.domain.wire.health import ChecksDone, FindingSeen, RepairDone

log = structlog.get_logger()


def observe(
    tx: Transaction, ids: IdSource, node_id: NodeId, seen: FindingSeen | ChecksDone | RepairDone, now: float
) -> None:
    """Count one observation of health."""
    del tx, ids, now
    log.info("health", node=node_id, seen=seen.type)
