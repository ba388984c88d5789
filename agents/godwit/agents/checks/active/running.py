"""Carries out orders to check: `RunChecks` from the control plane, and the preflight of an attempt."""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog
from godwit.agents.checks.active import child, judging
from godwit.agents.checks.active.child import Ended, Order
from godwit.agents.checks.active.judging import Verdict
from godwit.agents.checks.active.proven import Proven
from godwit.agents.effects import Checked, Found, HealthEvent
from godwit.domain import mig
from godwit.domain.health import Grade
from godwit.domain.wire.agents import GpuFact
from godwit.domain.wire.health import RunChecks

log = structlog.get_logger()

PREFLIGHT_S = 60.0
"""Before a gang starts, of eight GPUs: PyTorch and CUDA are up in some 10 s, each GPU is tried for 3 s, and NCCL needs
15 s. Estimates, with a third to spare: what does not begin within four fifths of it is left out."""

LEAST_S, MOST_S = 20.0, 1_800.0
"""Bounds of an ordered budget: below, PyTorch is hardly loaded; above is no check any more (the longest diagnostic that
is in use before a return takes half an hour)."""

STRICT = frozenset({"suspicion", "return"})
"""Occasions on which GPUs have to prove themselves."""

BURN_SHARE = {"preflight": 0.0, "suspicion": 0.5, "return": 0.5, "sweep": 0.5}
"""How much of the budget goes to products over and over: silent corruption shows on hot GPUs (imbue burns 5 min)."""

WHOLE = -1
"""Where faults of the driver as a whole stand among those of fake GPUs."""

Faults = Callable[[], Mapping[int, Collection[str]]]


@dataclass(frozen=True)
class Result:
    """How one order came out. `verdicts` are all that was found, `passed` whether it is good enough.

    `stopped`: work came, or the order was taken back, before the end. `applies` is false where nothing could be tried.
    """

    passed: bool
    detail: str
    verdicts: tuple[Verdict, ...] = ()
    figures: Mapping[str, float] | None = None
    stopped: bool = False
    applies: bool = True


class ActiveChecks:
    """Runs orders; `report` hears a finding for each thing that is wrong, then that the order is over.

    Orders for different GPUs of a node run beside each other: a preflight does not wait for a long test of another GPU.

    `gpus` lists the node's GPUs, `faults` the injected faults of fake ones by index (None: the GPUs are real).
    `converse` is what carries an order out, for tests to replace.
    """

    def __init__(
        self,
        gpus: Callable[[], Sequence[GpuFact]],
        report: Callable[[HealthEvent], None],
        faults: Faults | None = None,
        converse: Callable[[Order, Callable[[], bool]], Ended] = child.converse,
    ) -> None:
        self._gpus = gpus
        self._report = report
        self._faults = faults
        self._converse = converse
        self._telling = threading.Lock()
        self._work = threading.Event()
        self._told: set[tuple[str, str | None, str]] = set()
        self._trying: list[frozenset[int]] = []
        self.proven = Proven()
        """What need not be tried again; whoever hears findings tells it."""

    def start(self, command: RunChecks) -> None:
        """Carry out an order beside everything else; returns at once."""
        threading.Thread(target=self.run, args=(command,), name=command.intent_id, daemon=True).start()

    def run(self, command: RunChecks) -> None:
        """Carry out an order; returns once it was reported as over, which it always is."""
        start = time.monotonic()
        if command.occasion == "sweep":
            self._work.clear()
        try:
            facts = self._facts(command.gpus)
            result = self._try(command.occasion, facts, command.budget_s, lambda: True)
            self._tell(result, facts, command.occasion)
        except Exception as exc:
            log.exception("checks could not be carried out", intent=command.intent_id)
            result = Result(command.occasion not in STRICT, f"could not be carried out: {type(exc).__name__}: {exc}")
        took_s = time.monotonic() - start
        self._report(Checked(command.intent_id, result.passed, result.detail, took_s, result.figures or {}))

    @property
    def trying(self) -> set[int]:
        """The GPUs (indexes) that are being tried now: what is on them is no left-over."""
        with self._telling:
            return {index for one in self._trying for index in one}

    def work_comes(self) -> None:
        """Something starts on this node: a sweep makes room at once."""
        self._work.set()

    def preflight(self, indexes: Collection[int], going_on: Callable[[], bool], *, anew: bool = False) -> Result:
        """Try these GPUs before a program gets them; findings are reported, and the result tells whether it may start.

        Blocks for up to `PREFLIGHT_S`; not at all where all have shown lately that they are fit, unless `anew`. What
        cannot be tried passes: it is no fault of a GPU.
        """
        self.work_comes()
        try:
            facts = self._facts(indexes)
            if not anew and self.proven.covers([fact.uuid for fact in facts.values()]):
                return Result(True, "all have shown lately that they are fit", applies=False)
            result = self._try("preflight", facts, PREFLIGHT_S, going_on)
            self._tell(result, facts, "preflight")
        except Exception as exc:  # an attempt must not depend on the soundness of what checks it
            log.exception("the preflight could not be carried out")
            return Result(True, f"could not be carried out: {type(exc).__name__}: {exc}", applies=False)
        return result

    def _facts(self, indexes: Collection[int]) -> dict[int, GpuFact]:
        return {fact.index: fact for fact in self._gpus() if fact.index in set(indexes)}

    def _try(
        self, occasion: str, facts: Mapping[int, GpuFact], budget_s: float, going_on: Callable[[], bool]
    ) -> Result:
        if any(mig.split(fact.model)[1] for fact in facts.values()):
            # A process can use one slice only (MIG User Guide, "CUDA device enumeration").
            return Result(True, "slices of GPUs are not tried", applies=False)
        order = self._order(occasion, facts, min(max(budget_s, LEAST_S), MOST_S))
        mine, since = frozenset(facts), time.monotonic()
        with self._telling:
            self._trying.append(mine)
        try:
            ended = self._converse(order, lambda: going_on() and not (occasion == "sweep" and self._work.is_set()))
        finally:
            with self._telling:
                self._trying.remove(mine)
        result = _result(ended, facts, strict=occasion in STRICT)
        if result.passed and result.applies and not (result.stopped or result.verdicts):
            self.proven.passed([fact.uuid for fact in facts.values()], since)
        return result

    def _order(self, occasion: str, facts: Mapping[int, GpuFact], budget_s: float) -> Order:
        faults = {} if self._faults is None else self._faults()
        listed = [
            {"index": index, "model": fact.model, "faults": sorted({*faults.get(index, ()), *faults.get(WHOLE, ())})}
            for index, fact in sorted(facts.items())
        ]
        device = "cpu" if not listed else "cuda" if self._faults is None else "fake"
        return Order(
            device,
            listed or [{"index": 0, "model": "", "faults": []}],
            budget_s,
            0.0 if device != "cuda" else budget_s * BURN_SHARE[occasion],
            child.SWEEP_NICE if occasion == "sweep" else 0,
            [fact.uuid for _, fact in sorted(facts.items())] if device == "cuda" else (),
        )

    def _tell(self, result: Result, facts: Mapping[int, GpuFact], occasion: str) -> None:
        """Report what is wrong, and what was wrong and is not any more."""
        found = [found_of(verdict, facts, occasion) for verdict in result.verdicts]
        now = {(one.check, one.gpu, one.code) for one in found}
        tried = {fact.uuid for fact in facts.values()}
        with self._telling:
            over = {key for key in self._told - now if key[1] is None or key[1] in tried}
            over = over if result.applies and not result.stopped else set()
            self._told = (self._told - over) | now
        for check, gpu, code in sorted(over, key=str):
            self._report(Found(check, Grade.HEALTHY, f"{check}: as it should be", code, gpu=gpu))
        for one in found:
            self._report(one)


def found_of(verdict: Verdict, facts: Mapping[int, GpuFact], occasion: str) -> Found:
    """The finding of a verdict; in a preflight it is the preflight's."""
    check = "preflight" if occasion == "preflight" else verdict.check
    gpu = None if verdict.gpu is None or verdict.gpu not in facts else facts[verdict.gpu].uuid
    evidence = {"occasion": occasion, **({} if verdict.gpu is None else {"index": verdict.gpu}), **verdict.evidence}
    return Found(check, verdict.grade, verdict.reason, verdict.code, verdict.remedy, gpu=gpu, evidence=evidence)


def _result(ended: Ended, facts: Mapping[int, GpuFact], *, strict: bool) -> Result:
    said, killed = ended.said, ended.how == "killed"
    verdicts = tuple(judging.judge(said, facts, strict=strict, killed=killed))
    failed = [verdict for verdict in verdicts if judging.fails(verdict, strict=strict)]
    told = judging.figures(said)
    if failed:
        detail = "; ".join(_where(verdict) + verdict.reason for verdict in failed)
        return Result(False, detail[:4_000], verdicts, told)
    if ended.how == "stopped":
        return Result(True, "stopped before its end: work came", verdicts, told, stopped=True)
    if said.absent:
        return Result(True, f"not applicable: {said.absent}", verdicts, told, applies=False)
    if said.done:
        return Result(True, f"{len(said.seen)} measurements, all as they should be", verdicts, told)
    # It ended without a word about a GPU: nothing is known of the GPUs, which is not enough for a return to work.
    why = "the budget ended it" if killed else f"it crashed: {(ended.stderr.strip().splitlines() or ['no word'])[-1]}"
    return Result(not strict, f"could not be carried out: {why}"[:4_000], verdicts, told, applies=False)


def _where(verdict: Verdict) -> str:
    return "" if verdict.gpu is None else f"GPU {verdict.gpu}: "
