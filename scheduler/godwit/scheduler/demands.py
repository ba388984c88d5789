"""Jobs as the planner weighs them: what they ask, for whom, and what running ones hold and would lose."""

from dataclasses import dataclass, field
from math import inf

from godwit.scheduler.asks import Ask
from godwit.scheduler.cluster import FABRIC, Share


@dataclass(frozen=True, slots=True)
class Demand:
    """A job that wants to run: a gang of `nodes_min` to `nodes_max` nodes with `ask` on each.

    `within` is the level (`cluster.LEVELS`) that the gang may not leave. `since` is when it was submitted, in seconds.
    `served_gpu_s` is what it got so far, over all attempts. `estimate_s` is how long it still runs, where somebody said
    so. `is_recovering`: it was interrupted through no fault of its own, and has work to lose. `yielded_at` is when it
    last gave way to another. `saves_every_s`: it commits a checkpoint so often from its start on; None where each one
    is told (`Engine.saved`). `stood_on`: ids of the nodes that it held when it was interrupted: copies of its
    checkpoints, its setup and its packages lie there. `serves`: it is a replica of a service.
    """

    job_id: str
    ask: Ask
    since: float
    nodes_min: int = 1
    nodes_max: int = 1
    within: int = FABRIC
    project: str = "default"
    priority: int = 0
    is_recovering: bool = False
    served_gpu_s: float = 0.0
    estimate_s: float | None = None
    may_yield: bool = True
    yielded_at: float | None = None
    saves_every_s: float | None = None
    stood_on: tuple[str, ...] = ()
    serves: bool = False

    @property
    def gpu_milli(self) -> int:
        """Thousandths of GPUs that the whole gang takes at its smallest."""
        return self.ask.total_milli * self.nodes_min


@dataclass(slots=True)
class Running:
    """A demand that holds its shares. `saved_at` is when its last checkpoint was committed, or its start."""

    demand: Demand
    shares: tuple[Share, ...]
    started_at: float
    saved_at: float
    yields_to: str | None = None

    @property
    def gpus(self) -> float:
        """GPUs that it holds."""
        return sum(len(share.gpus) * share.gpu_milli for share in self.shares) / 1000

    @property
    def ends_at(self) -> float:
        """When it ends by its estimate; infinite without one."""
        estimate_s = self.demand.estimate_s
        return inf if estimate_s is None else self.started_at + estimate_s

    def served_gpu_s(self, now: float) -> float:
        """GPU-seconds that it got over all attempts."""
        return self.demand.served_gpu_s + self.gpus * max(0.0, now - self.started_at)

    def lost_gpu_s(self, now: float) -> float:
        """GPU-seconds of work that would have to be done again if it stopped now."""
        every_s, age_s = self.demand.saves_every_s, max(0.0, now - self.saved_at)
        return self.gpus * (age_s % every_s if every_s else age_s)


@dataclass(frozen=True, slots=True)
class Start:
    """Place a demand on these shares, in rank order."""

    demand: Demand
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Yield:
    """A running job gives way to another: told first, given time to save, then ended and queued again."""

    job_id: str
    to: str
    lost_gpu_s: float


@dataclass(slots=True)
class Decision:
    """What to do now. `wake_at` is when time alone may change the answer."""

    starts: list[Start] = field(default_factory=list)
    yields: list[Yield] = field(default_factory=list)
    wake_at: float | None = None
