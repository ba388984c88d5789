"""Output on its way from an agent to the control plane."""

from typing import Annotated

from godwit.domain.wire.pages import Message
from pydantic import Field


class LogChunk(Message):
    """Output of an attempt from byte `offset` of its log on; a repeated chunk is harmless."""

    attempt_id: str
    epoch: int
    offset: Annotated[int, Field(ge=0)]
    text: Annotated[str, Field(max_length=262_144)]


class LogReply(Message):
    """Everything up to byte `next_offset` is stored."""

    next_offset: int
