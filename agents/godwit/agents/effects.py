"""What the agent's core asks of its shell (effects), and what the runtime tells the core (events)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from godwit.domain.health import Grade, Remedy
from godwit.domain.wire.agents import StartAttempt
from godwit.domain.wire.copies import CopyCheckpoint
from godwit.domain.wire.health import RepairNode, RunChecks

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


@dataclass(frozen=True)
class Repair:
    """Reset GPUs or reboot the machine; `Repaired` follows, after a reboot from the agent that starts then."""

    command: RepairNode


@dataclass(frozen=True)
class Check:
    """Run active checks; findings and `Checked` follow. Repeated, it happens again, which is harmless."""

    command: RunChecks


@dataclass(frozen=True)
class Copy:
    """Copy a checkpoint ahead of its job; `Copied` follows. Repeated, it goes on where it ended."""

    command: CopyCheckpoint


@dataclass(frozen=True)
class Runs:
    """An attempt that holds GPUs here; `is_working`: its program was seen to run, as far as this node can tell."""

    command: StartAttempt
    is_working: bool


Effect = StartRuntime | StopRuntime | Repair | Check | Copy

Order = RepairNode | RunChecks | CopyCheckpoint
"""What a node is told to do besides attempts, once."""


def effect_of(order: Order) -> Effect:
    """What an order asks of the shell."""
    if isinstance(order, CopyCheckpoint):
        return Copy(order)
    return Repair(order) if isinstance(order, RepairNode) else Check(order)


@dataclass(frozen=True)
class Running:
    """The program runs (rank 0), or this node is part of the Ray of a program that runs already."""

    attempt_id: str


@dataclass(frozen=True)
class Stopped:
    """No process of the attempt is left on this node; `outcome` is what the runtime itself saw.

    `ray_ended`: interrupted because Ray ended here or lost its head, as it does too when the head's program fails.
    `preflight_failed`: interrupted before anything ran, because a GPU of this node is not fit.
    """

    attempt_id: str
    outcome: Outcome
    exit_code: int | None = None
    detail: str = ""
    last_lines: tuple[str, ...] = ()
    ray_ended: bool = False
    preflight_failed: bool = False


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
    """A manifest was written at `manifest_url`; `at` is in seconds since the epoch.

    `stall_s` is how long the program stood still for it, 0 where nobody measured it.
    """

    attempt_id: str
    step: int
    at: float
    size_bytes: int
    files: int
    manifest_url: str
    stall_s: float = 0.0


@dataclass(frozen=True)
class Restored:
    """The program will start from this checkpoint; `step` None: from nothing. `damaged` are newer ones that failed."""

    attempt_id: str
    step: int | None
    from_epoch: int | None = None
    manifest_url: str | None = None
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deleted:
    """Retention deleted the checkpoints whose manifests were here."""

    attempt_id: str
    manifest_urls: tuple[str, ...]


@dataclass(frozen=True)
class Replica:
    """The replica takes requests at `port`, or does not (any more); fields as in `ReplicaSeen`."""

    attempt_id: str
    ready: bool
    port: int
    detail: str = ""


@dataclass(frozen=True)
class Idle:
    """Nobody and nothing has used the dev environment for `idle_s`, as long as its owner allows."""

    attempt_id: str
    idle_s: float


RuntimeEvent = Running | Stopped | Progress | Committed | Restored | Deleted | Replica | Idle


@dataclass(frozen=True)
class Found:
    """A check found something of a GPU (its UUID), of the node, or of an attempt; fields as in `FindingSeen`."""

    check: str
    grade: Grade
    reason: str
    code: str = ""
    suggested: Remedy = Remedy.NONE
    gpu: str | None = None
    attempt_id: str | None = None
    boot_id: str = ""
    evidence: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """Ordered checks are over; fields as in `ChecksDone`."""

    intent_id: str
    passed: bool
    detail: str = ""
    took_s: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Repaired:
    """An ordered repair is over; fields as in `RepairDone`."""

    intent_id: str
    worked: bool
    detail: str = ""


@dataclass(frozen=True)
class Noticed:
    """The machine is taken back in `within_s` seconds, or may be soon (None); fields as in `NoticeSeen`."""

    source: str
    within_s: float | None
    reason: str = ""


@dataclass(frozen=True)
class Copied:
    """A copy that was ordered is there, or cannot be had; fields as in `CopyDone`."""

    intent_id: str
    worked: bool
    step: int | None = None
    moved_bytes: int = 0
    took_s: float = 0.0
    detail: str = ""


HealthEvent = Found | Checked | Repaired | Copied
"""What is heard besides attempts: findings, and the ends of orders."""
