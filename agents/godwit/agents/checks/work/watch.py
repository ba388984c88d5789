"""Runs beside one attempt on its node, and finds what goes wrong in the job; it never holds the attempt up."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from godwit.agents.checks.work import gang, stacks
from godwit.agents.checks.work.gang import Gang, Place
from godwit.agents.checks.work.lags import LagWatch
from godwit.agents.checks.work.losses import JUMP, STAYS, LossWatch
from godwit.agents.checks.work.ranks import RANKS_MAX
from godwit.agents.checks.work.reports import Reader, Report
from godwit.agents.checks.work.stacks import Stack, Target
from godwit.agents.checks.work.steps import StepClock
from godwit.agents.effects import Found
from godwit.domain.health import Grade, Remedy

log = structlog.get_logger()

LOOK_S = 1.0
"""How often the program's words are read: two stat calls. Hangs are a matter of a minute."""

STILL_SAMPLES, STILL_S = 3, 5.0
"""A job that is silent for too long hangs if its stacks are the same in so many samples, so far apart."""

STILL_BYTES = 1024 * 1024
"""What a job that hangs moves between two samples at most: Ray's own messages. An upload moves more."""

PATIENCE = 3
"""A job that is silent but busy is told of after so many limits."""


@dataclass(frozen=True)
class Watched:
    """The attempt: its id, where it writes, its GPUs here (their UUIDs by local rank), and its owner's wish.

    `output` is the program's log (None on nodes where it has none). `goes_on()` is false once it was told to stop.
    `place` is this node's in the gang, None where it is alone.
    """

    attempt_id: str
    run_folder: Path
    output: Path | None
    gpus: Callable[[], Sequence[str]]
    hang_after_s: float | None
    started: Callable[[], bool]
    goes_on: Callable[[], bool]
    place: Place | None = None


class WorkWatch:
    """The watch of one attempt; `report` hears findings from its thread."""

    def __init__(
        self, watched: Watched, report: Callable[[Found], None], *, look_s: float = LOOK_S, still_s: float = STILL_S
    ) -> None:
        self._watched = watched
        self._report = report
        self._look_s, self._still_s = look_s, still_s
        self._reader: Reader | None = None
        self._clock: StepClock | None = None
        self._losses = LossWatch()
        self._lags = LagWatch(self._tell_own, watched.place)
        self._local_ranks: dict[int, int] = {}
        self._told = ""
        self._busy = 0
        self._patient_until = 0.0
        self._looked_at = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{watched.attempt_id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """The attempt is over; returns at once."""
        self._closing.set()

    def _run(self) -> None:
        server = self._serve()
        while not self._closing.wait(self._look_s):
            try:
                self._look()
            except Exception:  # the job goes on, whatever its words or processes are like
                log.exception("a look at a job failed", attempt_id=self._watched.attempt_id)
        if server is not None:
            server.close()

    def _serve(self) -> gang.Server | None:
        place = self._watched.place
        if place is None or place.leads:
            return None
        try:
            return gang.Server(place, self._answer)
        except OSError as exc:
            log.warning("the head cannot ask this node of its processes", reason=str(exc), port=place.port)
            return None

    def _answer(self, path: str, posted: Mapping[str, Any] | None) -> Any:
        """What the head asks; from the server's threads."""
        if posted is not None:
            return self._hear_head(posted) if path == "/findings" else None
        if path == "/stacks":
            return [gang.told_of(one) for one in stacks.collect(stacks.targets(self._watched.run_folder))]
        return self._lags.windows if path == "/windows" else None

    def _hear_head(self, posted: Mapping[str, Any]) -> bool | None:
        try:
            if posted["check"] not in ("hang", "straggler"):
                return None
            self._tell_own(posted)
        except (KeyError, ValueError, TypeError, AttributeError) as exc:
            log.warning("a finding of the head makes no sense", reason=f"{type(exc).__name__}: {exc}")
            return None
        return True

    def _tell_own(self, finding: Mapping[str, Any]) -> None:
        """Report a finding of this node's that a look at the whole gang made."""
        evidence = {
            str(key)[:100]: value if isinstance(value, int | float) else str(value)[:3_500]
            for key, value in list(finding["evidence"].items())[:32]
        }
        grade = Grade(finding["grade"])
        restarts = finding["check"] == "hang" and grade is Grade.UNHEALTHY
        remedy = Remedy.RESTART_JOB if restarts else Remedy.NONE
        gpu = self._gpu_of(evidence.get("rank"))
        self._tell(
            finding["check"], grade, str(finding["reason"])[:2_000], str(finding["code"])[:100], evidence, remedy, gpu
        )

    def _look(self) -> None:
        now = time.monotonic()
        if self._clock is None or self._reader is None:
            if not self._watched.started():
                return
            self._clock = StepClock(now, self._watched.hang_after_s)
            # From now on: what set-up said of its steps does not count.
            self._reader = Reader(self._watched.run_folder, self._watched.output)
        reports = list(self._reader.new())
        self._clock.from_output = self._reader.from_output
        for report, at in zip(reports, self._instants(reports, now), strict=True):
            self._heard(self._clock, report, at)
        self._looked_at = now
        self._lags.look(now)
        if self._clock.hangs(now) and not self._told and now >= self._patient_until and self._watched.goes_on():
            self._suspect(self._clock)

    def _instants(self, reports: Sequence[Report], now: float) -> list[float]:
        """When each report was made, by our clock: by what it says, else spread over the time since the last look."""
        wall, since = time.time(), now - self._looked_at
        return [
            now - min(max(0.0, wall - report.at), 86_400.0) if report.at else self._looked_at + since * n / len(reports)
            for n, report in enumerate(reports, 1)
        ]

    def _heard(self, clock: StepClock, report: Report, at: float) -> None:
        if clock.saw(report.step, report.total_steps, at) and self._told:
            self._tell(self._told, Grade.HEALTHY, f"step {report.step} was done: it goes on", self._told)
            self._told, self._busy = "", 0
        self._judge_loss(report)
        if report.rank is not None and report.local_rank is not None and len(self._local_ranks) < RANKS_MAX:
            self._local_ranks[report.rank] = report.local_rank
        self._lags.saw(report)

    def _judge_loss(self, report: Report) -> None:
        before, median = self._losses.code, self._losses.median
        code = self._losses.saw(report.loss, report.grad_norm)
        if code is None:
            return
        if code == "":
            self._tell("loss", Grade.HEALTHY, f"at step {report.step} the loss is as usual again", before)
            return
        stays = self._losses.stays
        if code == "loss:nan":
            what = "is no finite number" + (f", {STAYS} times in a row" if stays else "")
        else:
            what = f"jumped above {JUMP:g} times its median {median or 0:.4g}"
        evidence: dict[str, str | int | float] = {"step": report.step, "loss": f"{report.loss}"}
        if report.grad_norm is not None:
            evidence["grad_norm"] = f"{report.grad_norm}"
        grade, remedy = (Grade.UNHEALTHY, Remedy.RESTART_JOB) if stays else (Grade.DEGRADED, Remedy.NONE)
        self._tell("loss", grade, f"at step {report.step} the loss {what}", code, evidence, remedy)

    def _gpu_of(self, rank: object) -> str | None:
        local = self._local_ranks.get(rank) if isinstance(rank, int) else None
        if local is None:
            return None
        gpus = self._watched.gpus()
        return gpus[local] if local < len(gpus) else None

    def _suspect(self, clock: StepClock) -> None:
        """It is silent for too long: look at what its processes do, and tell unless they are busy."""
        whom = stacks.targets(self._watched.run_folder)
        if not whom:
            return  # nothing lives: the attempt's end says what there is to say
        seen = stacks.collect(whom)
        is_still = self._watched.hang_after_s is not None or self._is_still(clock, whom, seen)
        if is_still is None:
            return
        silent_s, limit_s = clock.silent_s(time.monotonic()), clock.limit_s or 0.0
        self._busy += 0 if is_still else 1
        if not is_still and self._busy < PATIENCE:
            self._patient_until = time.monotonic() + limit_s
            return
        self._told = "hang" if is_still else "silence"
        last = "no step yet" if clock.step is None else f"the last was step {clock.step}"
        reason = f"no step for {silent_s:.0f} s ({last}; usual are {clock.usual_s or 0:.1f} s)"
        reason += "; its processes stand still" if is_still else "; its processes are busy with something"
        evidence: dict[str, str | int | float] = {"silent_s": round(silent_s, 1), "limit_s": round(limit_s, 1)}
        if clock.step is not None:
            evidence["step"] = clock.step
        if is_still:
            evidence |= self._everywhere(seen, reason)
            self._tell("hang", Grade.UNHEALTHY, reason, "hang", evidence, Remedy.RESTART_JOB)
        else:  # a person may want to know; a restart would cost a job that is perhaps well
            self._tell("silence", Grade.DEGRADED, reason, "silence", evidence | stacks.evidence(seen))

    def _everywhere(self, seen: Sequence[Stack], reason: str) -> dict[str, str | int | float]:
        """The stacks of the whole gang as evidence. Who is odd is told by its own node: that is what it is about."""
        place = self._watched.place
        if place is None or not place.leads:
            return stacks.evidence(seen)
        others = Gang(place)
        by_node = others.stacks()
        all_of_them = [*seen, *(one for told in by_node.values() for one in told)]
        evidence = stacks.evidence(all_of_them)
        evidence["nodes"] = 1 + len(by_node)
        odd = set(stacks.odd(all_of_them))
        own = odd & {one.target for one in seen}
        evidence.pop("odd", None)
        if own:
            evidence["odd"] = ", ".join(sorted(target.name for target in own))[:500]
        for rank, told in by_node.items():
            names = ", ".join(sorted(one.target.name for one in told if one.target in odd))
            if names:
                evidence["odd_elsewhere"] = f"{evidence.get('odd_elsewhere', '')} {names}".strip()[:500]
                finding = {"check": "hang", "grade": "unhealthy", "reason": reason, "code": "hang"}
                others.tell(rank, {**finding, "evidence": {**stacks.evidence(told), "odd": names}})
        return evidence

    def _is_still(self, clock: StepClock, whom: Sequence[Target], first: Sequence[Stack]) -> bool | None:
        """Whether all stacks stay the same and next to nothing is read or written; None when a step came meanwhile."""
        moved = stacks.moved_bytes(whom)
        for _ in range(STILL_SAMPLES - 1):
            if self._closing.wait(self._still_s) or not self._watched.goes_on():
                return None
            for report in () if self._reader is None else self._reader.new():
                self._heard(clock, report, time.monotonic())
            if not clock.hangs(time.monotonic()):
                return None
            if [stack.text for stack in stacks.collect(whom)] != [stack.text for stack in first]:
                return False
        return stacks.moved_bytes(whom) - moved < STILL_BYTES * (STILL_SAMPLES - 1)

    def _tell(
        self, check: str, grade: Grade, reason: str, code: str,
        evidence: dict[str, str | int | float] | None = None, remedy: Remedy = Remedy.NONE, gpu: str | None = None,
    ) -> None:  # fmt: skip
        told = Found(
            check, grade, reason, code, remedy, gpu, attempt_id=self._watched.attempt_id, evidence=evidence or {}
        )
        self._report(told)
