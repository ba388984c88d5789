"""How often an attempt should save, as it is told when it starts: from its nodes' history and its owner's wish."""

from collections.abc import Mapping, Sequence
from typing import Any

from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Transaction
from godwit.domain.cadence import SaveCost
from godwit.domain.jobs import Attempt, CheckpointPolicy
from godwit.domain.nodes import Node
from godwit.domain.wire.saving import Saving
from godwit.scheduler import cadence
from godwit.scheduler.cadence import Wish
from godwit.scheduler.health import rates
from godwit.scheduler.snapshot import Snapshot

_FAILURES = "failures_per_s"


def failures(nodes: Sequence[Node], snapshot: Snapshot) -> Mapping[str, float]:
    """What the intents to start a gang on these nodes carry: how often it is expected to be stopped, as of now."""
    return {_FAILURES: rates.failures_per_s(nodes, snapshot)}


def of(tx: Transaction, policy: CheckpointPolicy, attempt: Attempt, node: Node, told: Mapping[str, Any]) -> Saving:
    """What a node of an attempt is told. What saves cost is not known yet: the node measures it, and chooses again.

    `told` is the intent's payload. Without `failures` in it, the nodes of the gang are taken to be alike.
    """
    rate_per_s = told.get(_FAILURES)
    if rate_per_s is None:
        record = queries.record(tx.conn, node.offer.key)
        rate_per_s = len(attempt.slots) * record.losses_per_hour(is_spot=node.offer.spot) / 3600
    choice = cadence.choose(SaveCost(), float(rate_per_s), Wish(policy.shortest_s, policy.longest_s))
    return Saving(
        interval_s=choice.interval_s,
        mtbf_s=choice.cadence.mtbf_s,
        shortest_s=choice.cadence.shortest_s,
        longest_s=choice.cadence.longest_s,
        keep=policy.keep,
    )
