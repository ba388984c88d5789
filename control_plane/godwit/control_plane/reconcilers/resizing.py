"""Writes down what is decided about the size of running attempts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from godwit.control_plane.reconcilers.writing import ACTOR, Writing, refuse_double_use, refuse_unfit
from godwit.control_plane.services import saving, sizes
from godwit.domain.intents import IntentKind
from godwit.scheduler.plan import Action, GrowAttempt, ShrinkAttempt


def _grow(writing: Writing, action: GrowAttempt) -> None:
    attempt, now = writing.attempts[action.attempt_id], writing.now
    refuse_double_use(writing.held, action.slots)
    refuse_unfit(writing.nodes, action.slots)
    attempt = sizes.grow(writing.tx, attempt, action.slots, action.reason, now)
    failures = saving.failures([writing.nodes[slot.node_id] for slot in attempt.staying], writing.snapshot)
    for slot in action.slots:
        writing.save_node(replace(writing.nodes[slot.node_id], reserved_for=None, idle_since=None))
        writing.owe(IntentKind.START_ATTEMPT, slot.node_id, action.reason, attempt, failures)


def _shrink(writing: Writing, action: ShrinkAttempt) -> None:
    attempt = writing.attempts[action.attempt_id]
    sizes.shrink(writing.tx, writing.ids, attempt, action.node_ids, action.reason, ACTOR, writing.now, to=action.to)


HANDLERS: Mapping[type[Action], Callable[[Writing, Any], None]] = {GrowAttempt: _grow, ShrinkAttempt: _shrink}
