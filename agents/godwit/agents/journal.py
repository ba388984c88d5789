"""The journal of an agent: everything that must outlive its process."""

from typing import Any, Literal

from godwit.agents.effects import Outcome
from godwit.domain.wire.agents import Observation, StartAttempt
from godwit.domain.wire.copies import CopyCheckpoint
from godwit.domain.wire.health import RepairNode, RunChecks
from pydantic import BaseModel, Field

REMEMBERED = 4_096
"""How many ended attempts, answered intents and jobs' epochs are kept. A control plane repeats a command until it is
answered, so one older than thousands of others is owed no more."""


class AttemptEntry(BaseModel):
    """One attempt as this node sees it; `command` is None when it never started here."""

    attempt_id: str
    job_id: str
    epoch: int
    phase: Literal["starting", "running", "stopping", "stopped"]
    command: StartAttempt | None = None
    stop_outcome: Outcome = "cancelled"
    stop_detail: str = ""
    grace_s: float = 0.0

    @property
    def is_working(self) -> bool:
        """Whether its program runs, as far as this node can tell: only the head hears of its start."""
        is_head = self.command is None or self.command.rank == 0
        return self.phase == "running" or (self.phase == "starting" and not is_head)


class Journal(BaseModel):
    """What an agent knows, as it is saved. `orders`: repairs, checks and copies that were taken on and are not over."""

    agent_id: str
    next_seq: int = 1
    lease_until: float | None = None
    epochs: dict[str, int] = Field(default_factory=dict)
    answered: dict[str, bool] = Field(default_factory=dict)
    attempts: dict[str, AttemptEntry] = Field(default_factory=dict)
    outbox: list[Observation] = Field(default_factory=list)
    orders: dict[str, RepairNode | RunChecks | CopyCheckpoint] = Field(default_factory=dict)


def forget_oldest(table: dict[str, Any]) -> None:
    """Keep the newest `REMEMBERED` entries of a table that is in order."""
    while len(table) > REMEMBERED:
        del table[next(iter(table))]
