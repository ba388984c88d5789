"""Which observation tells of which runtime event, where nothing else is to be known of it."""

from collections.abc import Mapping
from typing import Any

from godwit.agents.effects import Committed, Deleted, Idle, Replica, Restored
from godwit.domain.wire.agents import CheckpointCommitted, CheckpointRestored
from godwit.domain.wire.checkpoints import CheckpointsDeleted
from godwit.domain.wire.dev import IdleSeen
from godwit.domain.wire.replicas import ReplicaSeen

SAID: Mapping[type, Any] = {
    Committed: CheckpointCommitted,
    Deleted: CheckpointsDeleted,
    Restored: CheckpointRestored,
    Replica: ReplicaSeen,
    Idle: IdleSeen,
}
"""Event: the observation, whose fields are those of the event."""
