"""An event is something that happened: append-only, with a reason and an actor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """What happened to one subject.

    `kind` is `<subject>.<what>`, such as `job.state` (then `old` and `new` hold the states) or `job.restored`.
    `subject` is "job", "attempt", "node", "intent" or "provider". `job_id` and `node_id` say whose story it belongs to.
    `seq` is given by the store and grows with each event.
    """

    at: float
    kind: str
    subject: str
    subject_id: str
    reason: str
    actor: str
    old: str | None = None
    new: str | None = None
    job_id: str | None = None
    node_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0
