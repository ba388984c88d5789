"""What the agent's core asks of its shell (effects), and what the runtime tells the core (events)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from godwit.domain.wire.agents import StartAttempt

Outcome = Literal["succeeded", "failed", "interrupted", "cancelled"]


@dataclass(frozen=True)
class StartRuntime:
    """Run this node's part of the attempt. Carried out twice, it happens once: a running one is found again."""

    command: StartAttempt


@dataclass(frozen=True)
class StopRuntime:
    """End every process of the attempt on this node within `grace_s`, then say `Stopped`; harmless to repeat.

    An attempt that has no process here is answered with `Stopped` at once.
    """

    attempt_id: str
    grace_s: float
    reason: str


Effect = StartRuntime | StopRuntime


@dataclass(frozen=True)
class Running:
    """The program runs (rank 0 only)."""

    attempt_id: str


@dataclass(frozen=True)
class Stopped:
    """No process of the attempt is left on this node; `outcome` is what the runtime itself saw.

    `ray_ended`: interrupted because Ray ended here or lost its head, as it does too when the head's program fails.
    """

    attempt_id: str
    outcome: Outcome
    exit_code: int | None = None
    detail: str = ""
    last_lines: tuple[str, ...] = ()
    ray_ended: bool = False


@dataclass(frozen=True)
class Progress:
    """The program says how far it is; `at` is in seconds since the epoch."""

    attempt_id: str
    at: float
    step: int
    total_steps: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Committed:
    """A manifest was written at `manifest_url`; `at` is in seconds since the epoch."""

    attempt_id: str
    step: int
    at: float
    size_bytes: int
    files: int
    manifest_url: str


@dataclass(frozen=True)
class Restored:
    """The program will start from this checkpoint; `step` None: from nothing. `damaged` are newer ones that failed."""

    attempt_id: str
    step: int | None
    from_epoch: int | None = None
    manifest_url: str | None = None
    damaged: tuple[str, ...] = ()


RuntimeEvent = Running | Stopped | Progress | Committed | Restored
