"""How often an attempt should save, as it is told when it starts: from its nodes' history and its owner's wish."""

from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Transaction
from godwit.domain.cadence import SaveCost
from godwit.domain.jobs import Attempt, CheckpointPolicy
from godwit.domain.nodes import Node
from godwit.domain.wire.agents import Saving
from godwit.scheduler import cadence
from godwit.scheduler.cadence import Wish


def of(tx: Transaction, policy: CheckpointPolicy, attempt: Attempt, node: Node) -> Saving:
    """What a node of an attempt is told. What saves cost is not known yet: the node measures it, and chooses again.

    The nodes of a gang are taken to be alike, and each of them stops it: a look at all would read as many rows for
    each of as many commands.
    """
    record = queries.record(tx.conn, node.offer.key)
    rate_per_s = len(attempt.slots) * record.losses_per_hour(is_spot=node.offer.spot) / 3600
    choice = cadence.choose(SaveCost(), rate_per_s, Wish(policy.shortest_s, policy.longest_s))
    return Saving(
        interval_s=choice.interval_s,
        mtbf_s=choice.cadence.mtbf_s,
        shortest_s=choice.cadence.shortest_s,
        longest_s=choice.cadence.longest_s,
        keep=policy.keep,
    )
