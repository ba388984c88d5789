"""How many nodes a running job has, and how many it should have."""

from typing import Annotated

from godwit.domain.wire.pages import Message
from pydantic import Field


class SizeWanted(Message):
    """How many nodes a job's owner wants, within the job's own range; None: the planner's choice again."""

    nodes: Annotated[int, Field(strict=True, ge=1, le=4096)] | None


class SizeView(Message):
    """A running job that may bend: its size now, the one it should have, and why these differ or who chose it."""

    nodes: int
    target: int
    wanted: int | None = None
    why: str
