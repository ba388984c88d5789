"""Makes stories from rows as they are and from the events since: going back, each event says what was before it.

So a story of any time needs only the events from its beginning on, however old the machine is.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TypeVar

from godwit.domain.events import Event
from godwit.domain.ids import JobId
from godwit.domain.jobs import Attempt, AttemptState, Outcome
from godwit.domain.nodes import Health, Node, NodeState
from godwit.scheduler.ledger import stories
from godwit.scheduler.ledger.bills import Bill
from godwit.scheduler.ledger.stories import MACHINE, Claim, Span, Story, Timeline, timeline

State = TypeVar("State", bound=StrEnum)

KEPT = "node.kept"
"""The event that a node is kept for another job than before, or for none; its data has what `was`."""

SAVED = "job.checkpoint"
"""The event that a checkpoint is committed; its data may have the `stall_s` for which the program stood still."""

UNUSED, USED = "job.unused", "job.used"
"""Events of an environment that nobody uses: since when is in the data, `idle_s`; and that somebody does again."""

KINDS = ("node.state", "attempt.state", "health.state", KEPT, SAVED, UNUSED, USED)
"""The kinds of events that the ledger reads."""

LOSSES = frozenset({Outcome.INTERRUPTED, Outcome.EVICTED})
"""Outcomes after which a job recovers; the others are wishes."""

_NO_MORE_KEPT = frozenset({NodeState.CORDONED, NodeState.TERMINATING, NodeState.TERMINATED, NodeState.FAILED})


@dataclass(frozen=True)
class Facts:
    """What was read: events of the ledger's kinds from some instant on, oldest first, and attempts as they are now.

    `attempts` are at least those that hold or held something since then, and the last one before of their jobs.
    `health` is what is believed now of devices that are not healthy, by their id.
    """

    events: Sequence[Event]
    attempts: Sequence[Attempt]
    health: Mapping[str, Health]


class Reader:
    """Tells the story of any node from one reading of facts."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._of_node: dict[str, list[Event]] = defaultdict(list)
        self._of_attempt: dict[str, list[Event]] = defaultdict(list)
        self._of_device: dict[str, list[Event]] = defaultdict(list)
        self._of_job: dict[str, list[Event]] = defaultdict(list)
        homes = {
            "node.state": self._of_node, KEPT: self._of_node, "attempt.state": self._of_attempt,
            "health.state": self._of_device,
        }  # fmt: skip
        for event in facts.events:
            homes.get(event.kind, self._of_job)[event.subject_id].append(event)
        self._on_node: dict[str, list[Attempt]] = defaultdict(list)
        by_job: dict[JobId, list[Attempt]] = defaultdict(list)
        for attempt in facts.attempts:
            by_job[attempt.job_id].append(attempt)
            for node_id in {slot.node_id for slot in (*attempt.slots, *attempt.left)}:
                self._on_node[node_id].append(attempt)
        self._states = {a.id: states(self._of_attempt[a.id], a.state) for a in facts.attempts}
        self._recovering = {job_id: self._recoveries(of) for job_id, of in by_job.items()}

    def story(self, node: Node) -> Story:
        """What happened on a node since the facts begin."""
        told = [event for event in self._of_node[node.id] if event.kind == "node.state"]
        claims = [claim for attempt in self._on_node[node.id] for claim in self._claims(attempt, node.id)]
        kept_for = self._kept_for(node, claims)
        jobs = {claim.job_id for claim in claims} | {JobId(job_id) for job_id in kept_for.values if job_id}
        recovering = {str(job_id): found for job_id in jobs if (found := self._recovering.get(job_id))}
        return Story(states(told, node.state), kept_for, self._unfit(node), tuple(claims), recovering)

    def _claims(self, attempt: Attempt, node_id: str) -> Iterable[Claim]:
        told = self._of_job.get(attempt.job_id, ())
        done = stories.phases(self._states[attempt.id], _saves(told, attempt), _unused(told, attempt))
        for slot in (*attempt.slots, *attempt.left):
            if slot.node_id == node_id:
                yield Claim.of(slot, attempt.job_id, attempt.created_at, done)

    def _kept_for(self, node: Node, claims: Iterable[Claim]) -> Timeline[str]:
        changes: list[tuple[float, str, str]] = []  # when, what was, what is from then on
        for event in self._of_node[node.id]:
            if event.kind == KEPT:
                changes.append((event.at, str(event.data.get("was") or ""), event.job_id or ""))
            elif event.old is None:
                changes.append((event.at, "", event.job_id or ""))
            elif event.new in _NO_MORE_KEPT:
                changes.append((event.at, "", ""))
        changes += [(claim.since, self._was_kept(node, claim), "") for claim in claims]
        changes.sort(key=lambda change: change[0])
        first = changes[0][1] if changes else str(node.reserved_for or "")
        return timeline(first, [(at, value) for at, _, value in changes])

    def _was_kept(self, node: Node, claim: Claim) -> str:
        """For which job it was kept when this one began: its birth says so."""
        for attempt in self._on_node[node.id]:
            if attempt.job_id == claim.job_id and attempt.created_at <= claim.since:
                births = [event for event in self._of_attempt[attempt.id] if event.old is None]
                if any(node.id in event.data.get("kept", ()) for event in births):
                    return claim.job_id
        return ""

    def _unfit(self, node: Node) -> Timeline[frozenset[int]]:
        devices = {str(gpu.uuid): gpu.index for gpu in node.gpus} | {str(node.id): MACHINE}
        told = {device: self._of_device.get(device, []) for device in devices}
        lines = {
            index: states(told[device], self._facts.health.get(device, Health.HEALTHY))
            for device, index in devices.items()
            if told[device] or device in self._facts.health
        }
        if not lines:
            return Timeline((frozenset(),))

        def unfit(at: float) -> frozenset[int]:
            return frozenset(index for index, line in lines.items() if line.at(at) is not Health.HEALTHY)

        cuts = sorted({cut for line in lines.values() for cut in line.cuts})
        return timeline(unfit(-inf), [(at, unfit(at)) for at in cuts])

    def _recoveries(self, of: Sequence[Attempt]) -> list[Span]:
        """Of one job: from each loss of an attempt until one of its successors is at work."""
        found = []
        ordered = sorted(of, key=lambda attempt: attempt.epoch)
        for number, attempt in enumerate(ordered):
            if attempt.outcome in LOSSES:
                lost_at = first_at(self._states[attempt.id], {AttemptState.STOPPING, AttemptState.ENDED})
                later = (self._works_at(successor) for successor in ordered[number + 1 :])
                found.append((lost_at, min(later, default=inf)))
        return found

    def _works_at(self, attempt: Attempt) -> float:
        """When it began to work, or ended otherwise than by a loss, which it may have done before the facts begin."""
        line = self._states[attempt.id]
        if AttemptState.RUNNING in line.values:
            return first_at(line, {AttemptState.RUNNING})
        is_over = attempt.outcome is not None and attempt.outcome not in LOSSES
        return first_at(line, {AttemptState.STOPPING, AttemptState.ENDED}) if is_over else inf


def states(told: Sequence[Event], now: State) -> Timeline[State]:
    """The states of one thing, from the events of their changes; `now` is its state where there are none."""
    kind = type(now)
    first = kind(told[0].old or told[0].new or now) if told else now
    return timeline(first, [(event.at, kind(event.new or now)) for event in told])


def first_at(line: Timeline[State], wanted: Iterable[State]) -> float:
    """When it first was one of these; -inf for always, inf for never."""
    found = set(wanted)
    edges = (-inf, *line.cuts)
    return next((at for at, value in zip(edges, line.values, strict=True) if value in found), inf)


def _saves(told: Iterable[Event], attempt: Attempt) -> list[Span]:
    """For how long the program stood still to save."""
    of = [event for event in told if event.kind == SAVED and event.data.get("epoch") == attempt.epoch]
    return [(event.at - float(event.data["stall_s"]), event.at) for event in of if event.data.get("stall_s")]


def _unused(told: Iterable[Event], attempt: Attempt) -> list[Span]:
    """From when to when nobody used the environment, as far as it was said."""
    found: list[Span] = []
    for event in told:
        if event.data.get("epoch") != attempt.epoch:
            continue
        if event.kind == UNUSED:
            found.append((event.at - float(event.data.get("idle_s", 0.0)), inf))
        elif event.kind == USED and found:
            found[-1] = (found[-1][0], event.at)
    return found


_UNPAID = frozenset({NodeState.REQUESTED, NodeState.TERMINATED, NodeState.FAILED})


def bill_of(node: Node, told: Sequence[Event]) -> Bill | None:
    """A node's bill by its own states, where no provider was asked: from the accepted launch until its end.

    `told` are the changes of its state from its birth on. None for a node of which no launch was accepted.
    """
    line = states([event for event in told if event.kind == "node.state"], node.state)
    began_at = first_at(line, set(NodeState) - _UNPAID)
    if began_at == inf:
        return None
    ended_at = node.state_since if node.state in _UNPAID else None
    return Bill(
        str(node.instance_id or node.id), node.offer.provider, node.id, node.offer.gpu_count,
        node.offer.price_usd_per_hour, node.offer.spot, max(began_at, node.created_at), ended_at,
    )  # fmt: skip
