"""What agents say of checkpoints beside that they were committed."""

from typing import Annotated, Literal

from godwit.domain.wire.pages import Message
from pydantic import Field

URLS_MAX = 256


class CheckpointsDeleted(Message):
    """Retention deleted these checkpoints of the attempt's job from its store: its list must not name them any more."""

    type: Literal["checkpoints-deleted"] = "checkpoints-deleted"
    seq: Annotated[int, Field(ge=0, le=2**53)]
    attempt_id: str
    epoch: int
    manifest_urls: Annotated[list[Annotated[str, Field(max_length=4_096)]], Field(max_length=URLS_MAX)]
