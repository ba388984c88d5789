"""Programs of the simulated world, their processes, and what they and their machines can reach."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from godwit.agents.effects import Stopped
from godwit.domain.wire import agents as wire

Machine = TypeVar("Machine")


@dataclass
class Program:
    """What a job's program does: one step a second, and its own way to end."""

    steps: int
    fails_at: int | None = None


@dataclass
class Run:
    """The processes of one attempt on one machine, under their guard."""

    command: wire.StartAttempt
    started_at: float
    lease_deadline: float
    step: int = 0
    told_running: bool = False
    peer_missing_since: float | None = None
    seen_head: bool = False
    head_missing_since: float | None = None
    ended: Stopped | None = None

    @property
    def alive(self) -> bool:
        """Whether any process is left."""
        return self.ended is None


@dataclass
class Checkpoints:
    """The checkpoint store: what was committed for each job, as (epoch, step)."""

    committed: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def newest(self, job_id: str, below_epoch: int) -> tuple[int, int] | None:
        """What an attempt of this epoch restores."""
        return max((c for c in self.committed.get(job_id, []) if c[0] < below_epoch), default=None)


@dataclass
class Surroundings(Generic[Machine]):
    """What a machine can reach."""

    checkpoints: Checkpoints
    join: Callable[[Machine, str, wire.JoinRequest], wire.JoinReply]
    heartbeat: Callable[[Machine, str, wire.HeartbeatRequest], wire.HeartbeatReply]
    commands: Callable[[Machine, str, set[str]], list[wire.Command]]
    owed: Callable[[str], int]
    gang_is_whole: Callable[[wire.StartAttempt], bool]
    has_head: Callable[[wire.StartAttempt], bool]
    program_of: Callable[[str], Program]
