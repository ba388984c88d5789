"""What is counted while the world runs, and the figures of one run."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.goodput.faults import Effect, Nature
from benchmarks.goodput.machines import Fault, Machine
from benchmarks.goodput.scenario import Fleet

PHASES = ("detect", "stop", "place", "start")


@dataclass
class Outage:
    """From when the job suffers to its first new step."""

    since: float
    fault: Fault | None
    acted_at: float | None = None
    stopped_at: float | None = None
    placed_at: float | None = None
    resumed_at: float | None = None

    @property
    def phases_s(self) -> tuple[float, float, float, float] | None:
        """Seconds of each of `PHASES`; None before it is over, or when nobody acted."""
        if self.acted_at is None or self.stopped_at is None or self.placed_at is None or self.resumed_at is None:
            return None
        placed_at = max(self.placed_at, self.stopped_at)
        return (
            self.acted_at - self.since, self.stopped_at - self.acted_at,
            placed_at - self.stopped_at, self.resumed_at - placed_at,
        )  # fmt: skip


@dataclass
class Tally:
    """The figures of one run. Evictions are of nodes; `wrong` are those of nodes without a fault that matters."""

    ettr: float = 0.0
    lost_s: float = 0.0
    node_days: float = 0.0
    outages: list[Outage] = field(default_factory=list)
    evictions: int = 0
    wrong: list[str] = field(default_factory=list)
    wrong_for_program: int = 0
    taken_out: int = 0
    felt: dict[int, Fault] = field(default_factory=dict)
    missed: set[int] = field(default_factory=set)
    onto_known: list[str] = field(default_factory=list)
    failed_starts: int = 0
    bought: int = 0
    returned: int = 0
    trips: int = 0
    cap_exceeded: int = 0
    plans: int = 0
    policy_s: float = 0.0
    idle_node_s: float = 0.0
    by_hand: int = 0
    _now: Outage | None = None

    def struck(self, now: float, fault: Fault) -> None:
        """The job suffers from a fault."""
        self.felt[fault.happening.number] = fault
        if self._now is None:
            self._now = Outage(now, fault)
            self.outages.append(self._now)

    def broke_off(self, now: float) -> None:
        """The job is told to stop; without a fault that is felt, the outage begins only now."""
        if self._now is None:
            self._now = Outage(now, None, now)
            self.outages.append(self._now)

    def acted(self, now: float) -> None:
        """Somebody did something about it."""
        if self._now is not None and self._now.acted_at is None:
            self._now.acted_at = now

    def stopped(self, now: float) -> None:
        """No process is left."""
        if self._now is not None:
            self._now.stopped_at = now

    def placed(self, now: float, odd: Iterable[Machine]) -> None:
        """The job is started; `odd` are those of its machines that are not as they should be."""
        if self._now is not None:
            self._now.placed_at = now
        for fault in (fault for machine in odd for fault in machine.faults):
            if fault.is_hardware and not fault.kind.tolerable:
                if fault.happening.number in self.felt:
                    self.missed.add(fault.happening.number)
                if fault.told_at is not None:
                    self.onto_known.append(fault.kind.name)

    def resumed(self, now: float) -> None:
        """The first new step is done."""
        if self._now is not None:
            self._now.resumed_at = now
        self._now = None

    def took_out(self, machine: Machine, *, evicted: bool) -> None:
        """A machine is taken out of the job (`evicted`), or of the fleet while nothing ran on it."""
        if not evicted:
            self.taken_out += 1
            return
        self.evictions += 1
        if not machine.is_sick:
            causes = [fault.kind.name for fault in machine.faults] or ["nothing"]
            last = None if self._now is None or self._now.fault is None else self._now.fault.kind
            if last is not None and last.nature is Nature.PROGRAM:
                self.wrong_for_program += 1
                causes = [last.name]
            self.wrong.append(",".join(causes))

    def paid(self, nodes: int, own: int, seconds: float) -> None:
        """So many machines were there for so long; the job's own are not counted."""
        self.idle_node_s += (nodes - own) * seconds

    def planned(self, took_s: float) -> None:
        """A plan was made; `took_s` of CPU."""
        self.plans += 1
        self.policy_s += took_s

    def close(self, done_s: float, lost_s: float, wall_s: float, fleet: Fleet) -> None:
        """The run is over."""
        self.ettr, self.lost_s = done_s / wall_s, lost_s
        self.node_days = fleet.nodes * fleet.days

    @property
    def hardware_felt(self) -> int:
        """Faults of machines that the job felt and that did not pass at once."""
        return sum(fault.is_hardware and fault.kind.effect is not Effect.NONE for fault in self.felt.values())
