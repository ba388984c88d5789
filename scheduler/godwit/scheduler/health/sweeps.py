"""Tests of idle nodes in the background: a GPU that went bad while nobody looked is found before a job meets it."""

from collections.abc import Iterator

from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.health.breaker import Budget
from godwit.scheduler.health.casebook import Casebook
from godwit.scheduler.health.view import SWEEP
from godwit.scheduler.plan import Action, TestNode

AT_ONCE = 4
"""Sweeps that may be under way: they draw power, and whoever looks for a node should find most of them idle."""

OVERDUE_S = 900.0
"""A sweep without an answer is forgotten after this: its budget is two minutes, and its agent may be gone."""


def due(book: Casebook, _budget: Budget) -> Iterator[Action]:
    """Sweeps to begin now, those first that were tested longest ago."""
    every_s = book.policy.sweep_every_s
    if every_s is None:
        return
    idle = sorted((at, node.id) for node in book.snapshot.nodes if (at := due_at(node, book, every_s)) is not None)
    under_way = sum(_is_under_way(node, book) for node in book.snapshot.nodes)
    for at, node_id in idle[: max(0, AT_ONCE - under_way)]:
        if at <= book.now:
            node = book.snapshot.node_by_id[node_id]
            gpus = tuple(gpu.index for gpu in node.gpus)
            yield TestNode(node_id, None, gpus, f"it is idle, and was not tested for {every_s / 3_600:.1f} h")


def next_deadlines(book: Casebook) -> Iterator[float]:
    """When the next sweep is due."""
    every_s = book.policy.sweep_every_s
    if every_s is not None:
        for node in book.snapshot.nodes:
            at = due_at(node, book, every_s)
            if at is not None:
                yield at


def due_at(node: Node, book: Casebook, every_s: float) -> float | None:
    """When a node is to be swept; None while it is not idle, or something is wrong with it, or it is being tested."""
    is_well = node.state is NodeState.READY and all(gpu.health is Health.HEALTHY for gpu in node.gpus)
    if not node.gpus or not is_well or node.idle_since is None or node.reserved_for is not None or node.gone:
        return None
    if book.incidents_on(node.id) or book.holders(node.id, ()) or _is_under_way(node, book):
        return None
    last = book.sweeps.get(node.id)
    return max(node.idle_since + book.policy.sweep_idle_s, (last.at + every_s) if last is not None else 0.0)


def _is_under_way(node: Node, book: Casebook) -> bool:
    last = book.sweeps.get(node.id)
    return last is not None and last.kind == SWEEP and last.passed is None and book.now - last.at < OVERDUE_S
