"""What an agent is told of a replica that it runs, and what it says of one; parts of the messages in `agents`."""

from typing import Annotated, Literal

from godwit.domain.wire.pages import Message
from pydantic import Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Ask(Message):
    """A probe: an HTTP GET of `path`, or without one a connection; `failures` in a row are a no."""

    path: str | None = None
    period_s: Positive = 1.0
    timeout_s: Positive = 1.0
    failures: Annotated[int, Field(ge=1)] = 3


class Serve(Message):
    """The attempt is a replica: where it listens (None: the agent chooses a port), and what it is asked.

    `ray`: it runs on a Ray cluster of its own, like a job of kind `train`; else as a plain process.
    """

    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    readiness: Ask = Field(default_factory=Ask)
    liveness: Ask | None = None
    ray: bool = False


class ReplicaSeen(Message):
    """A replica takes requests at `port` of its head's address, or does not (any more), as its agent found."""

    type: Literal["replica-seen"] = "replica-seen"
    seq: Annotated[int, Field(ge=0, le=2**53)]
    attempt_id: str
    epoch: int
    ready: bool
    port: Annotated[int, Field(ge=1, le=65_535)]
    detail: Annotated[str, Field(max_length=4_096)] = ""
