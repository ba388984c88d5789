"""What an agent says when its machine is to be taken back."""

from typing import Annotated, Literal

from godwit.domain.wire.pages import Message
from pydantic import Field


class NoticeSeen(Message):
    """The machine is taken back in `within_s`, or may be soon (None). `source` is how that was heard."""

    type: Literal["notice-seen"] = "notice-seen"
    seq: Annotated[int, Field(ge=0, le=2**53)]
    source: Annotated[str, Field(max_length=64)]
    within_s: Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)] | None = None
    reason: Annotated[str, Field(max_length=4_096)] = ""
