"""Where the GPU-seconds went: each second of each node has one reason, so the reasons add up to what was paid for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.events import Event
from godwit.domain.ids import AttemptId, NodeId
from godwit.domain.jobs import Attempt, AttemptState
from godwit.domain.nodes import Node, NodeState
from godwit.domain.resources import WHOLE_GPU_MILLI


class Use(StrEnum):
    """What a GPU did for a second. `waiting` is for the rest of its gang, `broken` is paid for and unusable."""

    BUSY = "busy"
    STARTING = "starting"
    DRAINING = "draining"
    WAITING = "waiting"
    BROKEN = "broken"
    IDLE = "idle"


@dataclass(frozen=True)
class Account:
    """GPU-seconds by use, and dollars by provider."""

    gpu_seconds: Mapping[Use, float]
    usd_by_provider: Mapping[str, float]


_BOOTING = {NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING}
_ENDING = {NodeState.DRAINING, NodeState.TERMINATING}
_USE_OF_ATTEMPT = {
    AttemptState.STARTING: Use.STARTING,
    AttemptState.RUNNING: Use.BUSY,
    AttemptState.STOPPING: Use.DRAINING,
}

Span = tuple[float, float, str]
"""From, to, state."""


def account(
    nodes: Iterable[Node],
    stories: Mapping[NodeId, Sequence[Event]],
    attempts: Sequence[Attempt],
    attempt_events: Sequence[Event],
    until: float,
) -> Account:
    """Sort every second of `nodes` up to `until`.

    `stories` holds each node's events, `attempt_events` the state changes of `attempts`. A node is paid for from the
    accepted launch (`provisioning`) until it ends; GPUs that an attempt does not hold are idle, also while others of
    the same node are busy. The sum over the uses is GPUs x paid seconds.
    """
    by_attempt = {a.id: list(spans([e for e in attempt_events if e.subject_id == a.id], until)) for a in attempts}
    gpu_seconds: dict[Use, float] = defaultdict(float)
    usd: dict[str, float] = defaultdict(float)
    for node in nodes:
        states = [e for e in stories[node.id] if e.kind == "node.state"]
        for start, end, state in spans(states, until):
            if state in {NodeState.REQUESTED, NodeState.TERMINATED, NodeState.FAILED}:
                continue
            usd[node.offer.provider] += node.offer.price_usd_per_hour * (end - start) / 3600
            _sort_span(node, (start, end, state), attempts, by_attempt, gpu_seconds)
    return Account(dict(sorted(gpu_seconds.items())), dict(sorted(usd.items())))


def spans(states: Sequence[Event], until: float) -> Iterable[Span]:
    """State changes as spans of time; the last one lasts until `until`."""
    for index, event in enumerate(states):
        end = states[index + 1].at if index + 1 < len(states) else max(until, event.at)
        yield event.at, end, event.new or ""


def _sort_span(
    node: Node,
    span: Span,
    attempts: Sequence[Attempt],
    by_attempt: Mapping[AttemptId, Sequence[Span]],
    gpu_seconds: dict[Use, float],
) -> None:
    start, end, state = span
    count = node.offer.gpu_count
    if state in _BOOTING:
        gpu_seconds[Use.STARTING] += count * (end - start)
    elif state == NodeState.LOST:
        gpu_seconds[Use.BROKEN] += count * (end - start)
    elif state in _ENDING:
        gpu_seconds[Use.DRAINING] += count * (end - start)
    else:
        held = 0.0
        for attempt in attempts:
            slot = next((s for s in (*attempt.slots, *attempt.left) if s.node_id == node.id), None)
            if slot is None:
                continue
            gpus = len(slot.gpus) * slot.gpu_milli / WHOLE_GPU_MILLI
            came, went = slot.since or start, end if slot.until is None else slot.until
            for a_start, a_end, a_state in by_attempt[attempt.id]:
                overlap = max(0.0, min(end, a_end, went) - max(start, a_start, came))
                use = _USE_OF_ATTEMPT.get(AttemptState(a_state))
                if use is not None and overlap:
                    gpu_seconds[use] += gpus * overlap
                    held += gpus * overlap
        gpu_seconds[Use.IDLE] += count * (end - start) - held
