"""The job's progress: work in seconds at full speed, and what of it is saved.

Saves come every `interval_s` of a stint and stall it for `stall_s`; each is safe `commit_s` later. A stint that ends
keeps what was safe by then; one that is told to save first keeps everything.
"""

from dataclasses import dataclass, field


@dataclass
class Stint:
    """One run of the job between a start and an end; `pace` is since when it goes at which rate."""

    since: float
    interval_s: float
    stall_s: float
    commit_s: float
    pace: list[tuple[float, float]] = field(default_factory=list)
    corrupt_since: float | None = None

    def goes_at(self, now: float, rate: float) -> None:
        """From now on at this rate; 0: it stands still."""
        self.pace.append((now, rate))

    def work_s(self, until: float) -> float:
        """Work done from its start to `until`, stalls taken off."""
        total, efficiency = 0.0, self.interval_s / (self.interval_s + self.stall_s)
        ends = [at for at, _ in self.pace[1:]] + [until]
        for (at, rate), end in zip(self.pace, ends, strict=True):
            total += max(0.0, min(end, until) - at) * rate
        return total * efficiency

    def saved_at(self, now: float, back: int = 0) -> float | None:
        """When the newest checkpoint that is safe by `now` was taken, or that `back` before it; None: none."""
        cycle_s = self.interval_s + self.stall_s
        until = min(now, self._stands_since(), self.corrupt_since or now)
        count = int((min(until + self.commit_s, now) - self.commit_s - self.since) // cycle_s) - back
        return self.since + count * cycle_s if count > 0 else None

    def _stands_since(self) -> float:
        at, rate = self.pace[-1]
        return at if rate == 0.0 else float("inf")


@dataclass
class Training:
    """Everything the job has done. `kept_s` is safe; `before_s` is what the checkpoint before the newest holds."""

    kept_s: float = 0.0
    before_s: float = 0.0
    lost_s: float = 0.0
    stint: Stint | None = None

    def begin(self, stint: Stint) -> None:
        """Its first step is done."""
        stint.goes_at(stint.since, 1.0)
        self.stint = stint

    def end(self, now: float, *, saves: bool) -> None:
        """The stint is over; `saves`: with one more checkpoint."""
        stint, self.stint = self.stint, None
        if stint is None:
            return
        worked_s = stint.work_s(now)
        newest, older = stint.saved_at(now), stint.saved_at(now, back=1)
        saved_s = 0.0 if newest is None else stint.work_s(newest)
        if saves and stint.corrupt_since is None:
            self.before_s, self.kept_s = self.kept_s + saved_s, self.kept_s + worked_s
            return
        if newest is not None:
            self.before_s = self.kept_s + (0.0 if older is None else stint.work_s(older))
        self.lost_s += worked_s - saved_s
        self.kept_s += saved_s

    def falls_back(self) -> None:
        """The newest checkpoint is damaged: the one before it is the newest now."""
        self.lost_s += self.kept_s - self.before_s
        self.kept_s = self.before_s

    def done_s(self, now: float) -> float:
        """Work that counts: what is safe, and what the present stint did."""
        return self.kept_s + (0.0 if self.stint is None else self.stint.work_s(now))
