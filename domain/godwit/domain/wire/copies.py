"""What a node is told about copying a checkpoint ahead of a job that moves there, and what it says of it."""

from typing import Annotated, Literal

from godwit.domain.wire.pages import Message
from pydantic import Field

Count = Annotated[int, Field(ge=0, le=2**53)]


class CopyCheckpoint(Message):
    """Copy the newest checkpoint of a job, of an epoch up to `epoch`, from its `stores` to this node's disk.

    The first of `stores` is where new ones go, the others are where older ones lie. `to_store`, where given, is another
    store to which it is copied too. `env` holds what opens them. At most `bytes_per_s` come over the network.
    """

    type: Literal["copy-checkpoint"] = "copy-checkpoint"
    intent_id: str
    job_id: str
    epoch: int
    stores: list[str]
    to_store: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    bytes_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e9
    reason: str = ""


class CopyDone(Message):
    """The copy that `CopyCheckpoint` ordered is there, verified (`worked`), or `detail` says why not.

    `step` is that of the checkpoint; None: there is none yet. `moved_bytes` came over the network: what lay here
    already does not count.
    """

    type: Literal["copy-done"] = "copy-done"
    seq: Count
    intent_id: Annotated[str, Field(max_length=64)]
    worked: bool
    step: Count | None = None
    moved_bytes: Count = 0
    took_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    detail: Annotated[str, Field(max_length=4_096)] = ""
