"""Sorts every paid second of a machine's GPUs by reason and owner, in whole thousandths of GPUs.

At each instant a GPU belongs to the attempts that claim it, the newest first, none to more than the whole of it; what
nobody claims has the reason that the node has. So whatever the claims say, nothing is counted twice or left out, and
accounts of two windows that meet add up to that of both.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from godwit.domain.ids import NodeId, ProviderName
from godwit.domain.nodes import NodeState
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.scheduler.ledger.bills import Bill
from godwit.scheduler.ledger.stories import MACHINE, Story, within
from godwit.scheduler.ledger.uses import How, Use

_BOOTING = frozenset({NodeState.REQUESTED, NodeState.PROVISIONING, NodeState.JOINING})
_UP = frozenset({NodeState.READY, NodeState.CORDONED, NodeState.DRAINING})
_OVER = frozenset({NodeState.TERMINATED, NodeState.FAILED})
_RECOVERS = frozenset({Use.STARTING, Use.WAITING, Use.DRAINING})
"""What becomes `recovering` while the owner's job comes back from a loss."""

NOBODY = ""

Part = tuple[Use, How, str]
"""The reason, its kind, and the job that it is for, `NOBODY` for none."""


@dataclass(frozen=True)
class Entry:
    """Some of the seconds of one bill: GPU-seconds and dollars, of one reason and owner.

    The dollars of a machine without GPUs are divided equally between the jobs on it; it has no GPU-seconds.
    """

    bill_id: str
    node_id: NodeId | None
    provider: ProviderName
    spot: bool
    use: Use
    how: How
    job_id: str
    gpu_s: float
    usd: float


def account(bill: Bill, story: Story | None, since: float, until: float) -> list[Entry]:
    """The paid seconds of a machine between two instants; their GPU-seconds add up to GPUs x seconds.

    Without a story it is an orphan: paid for, and nobody's.
    """
    begin, end = max(since, bill.began_at), min(until, bill.paid_until)
    if begin >= end:
        return []
    sums: dict[Part, float] = defaultdict(float)
    cuts = () if story is None else (*story.cuts(), bill.ended_at or end)
    for start, stop in pairwise(sorted({begin, end, *(at for at in cuts if begin < at < end)})):
        for part, milli in _parts(bill, story, start).items():
            sums[part] += milli * (stop - start)
    return [_entry(bill, part, milli_s) for part, milli_s in sorted(sums.items())]


def by_use(entries: Iterable[Entry]) -> dict[Use, float]:
    """GPU-seconds by reason."""
    found: dict[Use, float] = defaultdict(float)
    for entry in entries:
        found[entry.use] += entry.gpu_s
    return {use: found[use] for use in Use if use in found}


def _entry(bill: Bill, part: Part, milli_s: float) -> Entry:
    use, how, job_id = part
    seconds = milli_s / WHOLE_GPU_MILLI
    usd = seconds / max(1, bill.gpu_count) * bill.price_usd_per_hour / 3600
    gpu_s = seconds if bill.gpu_count else 0.0
    return Entry(bill.id, bill.node_id, bill.provider, bill.spot, use, how, job_id, gpu_s, usd)


def _parts(bill: Bill, story: Story | None, at: float) -> Mapping[Part, int]:
    """Thousandths of GPUs by reason from this instant on; of a machine without any it counts as one."""
    whole = max(1, bill.gpu_count) * WHOLE_GPU_MILLI
    if story is None:
        return {(Use.BROKEN, How.ORPHAN, NOBODY): whole}
    state = story.states.at(at)
    if state in _OVER or (bill.ended_at is not None and at >= bill.ended_at):
        return {(Use.DRAINING, How.OVER, NOBODY): whole}
    if state in _BOOTING:
        return {_recovered((Use.STARTING, How.BOOT, story.kept_for.at(at)), story, at): whole}
    parts: dict[Part, int] = defaultdict(int)
    free = _claimed(bill, story, state, at, parts)
    _unclaimed(story, state, at, free, parts, is_shared=bool(parts))
    return parts


def _claimed(bill: Bill, story: Story, state: NodeState, at: float, parts: dict[Part, int]) -> dict[int, int]:
    """Counts what attempts hold into `parts`; returns the thousandths of each GPU that are left."""
    holding = [(claim, use) for claim in story.claims if (use := claim.use(at)) is not None]
    holding.sort(key=lambda held: held[0].since, reverse=True)
    if not bill.gpu_count:
        for number, (claim, use) in enumerate(holding):
            rest = WHOLE_GPU_MILLI % len(holding) if number == 0 else 0
            parts[_held(claim.job_id, use, state, story, at)] += WHOLE_GPU_MILLI // len(holding) + rest
        return {} if holding else {MACHINE: WHOLE_GPU_MILLI}
    left = dict.fromkeys(range(bill.gpu_count), WHOLE_GPU_MILLI)
    for claim, use in holding:
        for gpu in set(claim.gpus) & left.keys():
            taken = min(left[gpu], claim.milli)
            left[gpu] -= taken
            if taken:
                parts[_held(claim.job_id, use, state, story, at)] += taken
    return left


def _held(job_id: str, use: Use, state: NodeState, story: Story, at: float) -> Part:
    if state is NodeState.LOST:
        return (Use.BROKEN, How.LOST, job_id)
    if state not in _UP and use is not Use.RECOVERING:
        use = Use.DRAINING
    how = How.UNUSED if use is Use.HELD else How.PLAIN
    return _recovered((use, how, job_id), story, at)


def _recovered(part: Part, story: Story, at: float) -> Part:
    use, how, job_id = part
    is_back = use not in _RECOVERS or not within(at, story.recovering.get(job_id, ()))
    return part if is_back else (Use.RECOVERING, how, job_id)


def _unclaimed(
    story: Story, state: NodeState, at: float, left: Mapping[int, int], parts: dict[Part, int], *, is_shared: bool
) -> None:
    unfit, kept_for = story.unfit.at(at), story.kept_for.at(at)
    for gpu, milli in left.items():
        if milli:
            parts[_free(gpu, state, unfit, kept_for, story, at, is_shared=is_shared)] += milli


def _free(
    gpu: int, state: NodeState, unfit: frozenset[int], kept_for: str, story: Story, at: float, *, is_shared: bool
) -> Part:
    if state is NodeState.LOST:
        return (Use.BROKEN, How.LOST, NOBODY)
    if state is NodeState.TERMINATING or state is NodeState.DRAINING:
        return (Use.DRAINING, How.PLAIN, NOBODY)
    if gpu in unfit or MACHINE in unfit:
        return (Use.BROKEN, How.UNFIT, NOBODY)
    if kept_for:
        return _recovered((Use.WAITING, How.PLAIN, kept_for), story, at)
    if state is NodeState.CORDONED:
        return (Use.HELD, How.CORDONED, NOBODY)
    return (Use.IDLE, How.BESIDE if is_shared else How.PLAIN, NOBODY)
