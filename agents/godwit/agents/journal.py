"""The journal of an agent: everything that must outlive its process."""

from typing import Any, Literal

from godwit.agents.effects import Outcome
from godwit.domain.wire.agents import Observation, StartAttempt
from godwit.domain.wire.copies import CopyCheckpoint
from godwit.domain.wire.health import RepairNode, RunChecks
from godwit.domain.wire.notices import NoticeSeen
from godwit.domain.wire.replicas import ReplicaSeen
from pydantic import BaseModel, Field

REMEMBERED = 4_096
"""How many ended attempts, answered intents and jobs' epochs are kept. A control plane repeats a command until it is
answered, so one older than thousands of others is owed no more."""


STANDING = (ReplicaSeen, NoticeSeen)
"""What is told once and holds from then on: whether a replica takes requests, that the machine goes. Not what checks
found: a GPU may have been mended since, and what still is wrong shows again."""

STANDING_MAX = 64


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
    """What an agent knows, as it is saved. `orders`: repairs, checks and copies that were taken on and are not over.

    `standing` was stored by the control plane as it was last restored from a backup (`restored_at`), or since.
    """

    agent_id: str
    next_seq: int = 1
    lease_until: float | None = None
    epochs: dict[str, int] = Field(default_factory=dict)
    answered: dict[str, bool] = Field(default_factory=dict)
    attempts: dict[str, AttemptEntry] = Field(default_factory=dict)
    outbox: list[Observation] = Field(default_factory=list)
    orders: dict[str, RepairNode | RunChecks | CopyCheckpoint] = Field(default_factory=dict)
    standing: list[Observation] = Field(default_factory=list)
    restored_at: float | None = None

    def append(self, kind: Any, **fields: Any) -> None:
        """Observe something."""
        self.outbox.append(kind(seq=self.next_seq, **fields))
        self.next_seq += 1

    def acknowledge(self, seq: int) -> None:
        """Forget what was observed up to `seq`, but for what stands: the control plane has stored it."""
        stored = [one for one in self.outbox if one.seq <= seq]
        self.outbox = [one for one in self.outbox if one.seq > seq]
        newest: dict[tuple[str, ...], Observation] = {
            _about(one): one for one in [*self.standing, *stored] if isinstance(one, STANDING)
        }
        self.standing = sorted(newest.values(), key=lambda one: one.seq)[-STANDING_MAX:]

    def restored(self, at: float | None) -> bool:
        """Tell again what stands, where the control plane was restored since, and may have forgotten it; whether so."""
        if at is None or at == self.restored_at:
            return False
        told, self.standing, self.restored_at = self.standing, [], at
        for one in told:
            self.append(type(one), **{name: value for name, value in one if name not in {"seq", "type"}})
        return True


def _about(one: Observation) -> tuple[str, ...]:
    """Of a replica only the last word counts."""
    return (one.type, one.attempt_id) if isinstance(one, ReplicaSeen) else (one.type, str(one.seq))


def forget_oldest(table: dict[str, Any]) -> None:
    """Keep the newest `REMEMBERED` entries of a table that is in order."""
    while len(table) > REMEMBERED:
        del table[next(iter(table))]
