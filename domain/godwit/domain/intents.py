"""An intent is an action that the plan decided and an executor owes; it is written down before anything happens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from godwit.domain.ids import AttemptId, IntentId, JobId, NodeId


class IntentKind(StrEnum):
    """What is owed: by an executor against a provider (`FOR_PROVIDERS`), or by a node's agent (`FOR_AGENTS`)."""

    LAUNCH_NODE = "launch-node"
    TERMINATE_NODE = "terminate-node"
    DRILL = "drill"
    START_ATTEMPT = "start-attempt"
    STOP_ATTEMPT = "stop-attempt"
    REPAIR_NODE = "repair-node"
    RUN_CHECKS = "run-checks"
    COPY_CHECKPOINT = "copy-checkpoint"


FOR_PROVIDERS = frozenset({IntentKind.LAUNCH_NODE, IntentKind.TERMINATE_NODE, IntentKind.DRILL})
FOR_AGENTS = frozenset(
    {
        IntentKind.START_ATTEMPT, IntentKind.STOP_ATTEMPT, IntentKind.REPAIR_NODE, IntentKind.RUN_CHECKS,
        IntentKind.COPY_CHECKPOINT,
    }
)  # fmt: skip


class IntentState(StrEnum):
    """Where an intent stands. `pending` may have been tried; `cancelled` is owed no more."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Intent:
    """An action owed to one node.

    Its id is the idempotency key of the effect: carried out twice, it happens once. `tries` counts attempts to carry
    it out, `not_before` is when the next may come, `detail` is what the last one said. `holder` is the worker that
    carries it out now, empty for nobody and for the control plane that leads.
    """

    id: IntentId
    kind: IntentKind
    state: IntentState
    node_id: NodeId
    created_at: float
    state_since: float
    reason: str
    attempt_id: AttemptId | None = None
    job_id: JobId | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    tries: int = 0
    not_before: float = 0.0
    detail: str = ""
    version: int = 1
    holder: str = ""
