"""Startup scripts that gave up: why, and what their machines said last."""

from godwit.control_plane.context import Context
from godwit.control_plane.services import agents, nodes
from godwit.control_plane.store import entities, queries
from godwit.domain.events import Event
from godwit.scheduler.repair import BOOT_STATES

LOG_BYTES_MAX = 16_384
"""What is taken of a log; the script sends its last 40 lines, and of these 12,000 bytes at most."""

LINES_MAX, LINE_CHARACTERS_MAX = 40, 1_000
EVENT = "node.startup-failure"

_VERDICT = "godwit: gave up: "


def failed(context: Context, token: str, log: bytes) -> None:
    """The startup script of a machine gave up, and ends its log with the reason. Counted once for each node.

    A node on its way to its first heartbeat is of no use then, and given back. Of one that had joined it only is told:
    its lease decides. Raises `Unauthenticated` for a token that is not a join token of ours.
    """
    now = context.now()
    with context.db.write() as tx:
        node = agents.node_of_join_token(context, tx, token)
        # One row for each join token, however often it is sent: that bounds what a broken machine can write.
        if queries.has_event(tx.conn, node.id, EVENT):
            return
        lines = readable(log, token)
        # Behind what an agent may have said last without ending its line.
        why = lines[-1].rpartition(_VERDICT)[2] if lines else "it gave no reason"
        reason, actor = f"its startup script gave up: {why}", f"startup script of {node.id}"
        told = Event(
            now, EVENT, "node", node.id, reason, actor, job_id=node.reserved_for, node_id=node.id,
            data={"last_lines": lines},
        )  # fmt: skip
        entities.append(tx, told)
        if node.state in BOOT_STATES:
            nodes.unusable(context, tx, node, reason, now)


def readable(log: bytes, token: str) -> list[str]:
    """The last lines without the token, and without what would draw on a reader's terminal."""
    text = log.decode(errors="replace").replace(token, "(the join token)")
    shown = ("".join(c if c.isprintable() else " " for c in line).rstrip() for line in text.splitlines())
    return [line[:LINE_CHARACTERS_MAX] for line in shown if line][-LINES_MAX:]
