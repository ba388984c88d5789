"""What the figures of one order mean: pure. Peers of the same model and node are asked first, fixed floors second."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from godwit.agents.checks.active import floors
from godwit.agents.checks.active.figures import UNITS, Said, Seen
from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.agents import GpuFact

PEERS_MIN = 3
"""Fewer have no median that one of them could not move."""

SLOWER = 0.9
"""Of the peers' median: 10 %, the upper end of what is in use (5 to 10 %), since one order is a short look."""

MUCH_SLOWER = 0.75
"""Of the peers' median: too slow to start anything on. As DCGM's floor for bandwidth; NVRx takes the same share."""

MAD_FACTOR = 3.0
"""How many median absolute deviations below the median is no accident; about 2 standard deviations."""

NOT_THE_GPUS = ("out of memory", "no kernel image", "not compiled", "not implemented", "not supported")
"""Errors that say nothing of the GPU: somebody else uses it, or the build of PyTorch does not fit it."""

Evidence = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Verdict:
    """What one check says of one GPU by its index, or of all together (None)."""

    check: str
    gpu: int | None
    grade: Grade
    code: str
    reason: str
    remedy: Remedy = Remedy.NONE
    evidence: Evidence = field(default_factory=dict)


def judge(said: Said, gpus: Mapping[int, GpuFact], *, strict: bool, killed: bool = False) -> list[Verdict]:
    """All that is wrong, at most one verdict for each check and GPU. `killed`: the budget ended the child.

    `strict` is for GPUs that have to prove themselves: whatever is slow counts as unhealthy, and the floors are those
    of a return to work.
    """
    found = [*_errors(said.seen), *_correctness(said.seen, gpus)]
    for check in ("matmul", "bandwidth", "host-copy"):
        found += _rates(check, [one for one in said.seen if one.check == check], gpus, strict=strict)
    found += _all_reduce(said.seen, gpus, strict=strict)
    if killed and said.unanswered is not None:
        begun = said.unanswered
        reason = f"{begun.check} did not come to an end within the budget"
        found.append(Verdict(begun.check, begun.gpu, Grade.UNHEALTHY, f"{begun.check}:timeout", reason))
    first: dict[tuple[str, int | None], Verdict] = {}
    for verdict in found:
        first.setdefault((verdict.check, verdict.gpu), verdict)
    return list(first.values())


def figures(said: Said) -> dict[str, float]:
    """What was seen, by name: "gpu3.matmul", and digests as whole numbers that a float holds exactly (52 bits)."""
    told: dict[str, float] = {}
    for one in said.seen:
        name = one.check if one.gpu is None else f"gpu{one.gpu}.{one.check}"
        if one.figure is not None:
            told[name] = round(one.figure, 3)
        elif one.digest:
            told[f"{name}.{one.kind}"] = float(int(one.digest[-13:], 16))
    return dict(list(told.items())[:256])


def _errors(seen: Iterable[Seen]) -> Iterable[Verdict]:
    for one in seen:
        if not one.error or any(word in one.error.lower() for word in NOT_THE_GPUS):
            continue
        is_wrong = one.figure is not None
        code, what = ("wrong", "came out wrong") if is_wrong else ("error", "ended in an error")
        reason = f"{one.check} {what}: {one.error.strip().splitlines()[-1][:300]}"
        yield Verdict(
            one.check, one.gpu, Grade.UNHEALTHY, f"{one.check}:{code}", reason, evidence={"error": one.error[:1_500]}
        )


def _correctness(seen: Iterable[Seen], gpus: Mapping[int, GpuFact]) -> Iterable[Verdict]:
    """Bits that differ from one time to the next prove a fault; bits that differ from most peers' do so too."""
    digests: dict[tuple[str, str], dict[int, list[str]]] = {}
    for one in seen:
        if one.check == "correctness" and one.digest and one.gpu is not None and one.gpu in gpus:
            group = digests.setdefault((gpus[one.gpu].model, one.kind), {})
            group.setdefault(one.gpu, []).append(one.digest)
    for (_, kind), by_gpu in sorted(digests.items()):
        unsteady = {gpu for gpu, own in by_gpu.items() if len(set(own)) > 1}
        for gpu in sorted(unsteady):
            times = len(by_gpu[gpu])
            reason = f"the same {kind} products came to {len(set(by_gpu[gpu]))} different results in {times} times"
            yield _corrupt(gpu, kind, reason, Remedy.REPLACE_NODE)
        steady = {gpu: own[0] for gpu, own in by_gpu.items() if gpu not in unsteady}
        yield from _against_peers(kind, steady)


def _against_peers(kind: str, steady: Mapping[int, str]) -> Iterable[Verdict]:
    counts = Counter(steady.values())
    if len(counts) < 2:
        return
    digest, agree = counts.most_common(1)[0]
    if agree * 2 > len(steady):
        for gpu in sorted(gpu for gpu, own in steady.items() if own != digest):
            reason = f"its {kind} products differ from those of {agree} other GPUs of the node, which agree"
            yield _corrupt(gpu, kind, reason, Remedy.REPLACE_NODE)
    else:  # nobody knows who is right: each has to be tried again
        for gpu in sorted(steady):
            yield _corrupt(gpu, kind, f"the GPUs of the node disagree about the same {kind} products", Remedy.NONE)


def _corrupt(gpu: int, kind: str, reason: str, remedy: Remedy) -> Verdict:
    return Verdict("correctness", gpu, Grade.UNHEALTHY, f"correctness:{kind}", reason, remedy)


def _rates(check: str, seen: Sequence[Seen], gpus: Mapping[int, GpuFact], *, strict: bool) -> Iterable[Verdict]:
    figures = {
        one.gpu: one.figure for one in seen if one.figure is not None and one.gpu is not None and one.gpu in gpus
    }
    for gpu, figure in sorted(figures.items()):
        model = gpus[gpu].model
        peers = [value for other, value in figures.items() if gpus[other].model == model]
        verdict = _among(check, gpu, figure, peers) or _by_floor(check, gpu, figure, model, strict=strict)
        if verdict is not None:
            yield verdict


def _among(check: str, gpu: int, figure: float, peers: Sequence[float]) -> Verdict | None:
    if len(peers) < PEERS_MIN:
        return None
    median = statistics.median(peers)
    spread = statistics.median(abs(value - median) for value in peers)
    if figure >= min(median * SLOWER, median - MAD_FACTOR * spread):
        return None
    grade = Grade.UNHEALTHY if figure < median * MUCH_SLOWER else Grade.DEGRADED
    share = f"{figure / median:.0%} of the median {median:.0f} of {len(peers)} GPUs of the node"
    evidence: Evidence = {"figure": figure, "median": median, "deviation": spread, "unit": UNITS[check]}
    return Verdict(
        check, gpu, grade, f"{check}:slow", f"{check}: {figure:.0f} {UNITS[check]}, {share}", evidence=evidence
    )


def _by_floor(check: str, gpu: int | None, figure: float, model: str, *, strict: bool, gpus: int = 1) -> Verdict | None:
    floor = floors.floor(model, check, strict=strict, gpus=gpus)
    if floor is None or figure >= floor:
        return None
    reason = f"{check}: {figure:.0f} {UNITS[check]}, below the {floor:.0f} that {model} must reach"
    evidence: Evidence = {"figure": figure, "floor": floor, "unit": UNITS[check]}
    return Verdict(check, gpu, Grade.UNHEALTHY, f"{check}:slow", reason, evidence=evidence)


def _all_reduce(seen: Iterable[Seen], gpus: Mapping[int, GpuFact], *, strict: bool) -> Iterable[Verdict]:
    models = {fact.model for fact in gpus.values()}
    for one in seen:
        if one.check == "all-reduce" and one.figure is not None and len(models) == 1:
            verdict = _by_floor("all-reduce", None, one.figure, models.copy().pop(), strict=strict, gpus=len(gpus))
            if verdict is not None:
                yield verdict


def fails(verdict: Verdict, *, strict: bool) -> bool:
    """Whether it makes the order fail: all that is unhealthy, and where it is strict whatever is not right."""
    return strict or verdict.grade is Grade.UNHEALTHY
