"""API keys with which people and programs come to services through a gateway."""

from typing import Annotated, Literal

from godwit.domain.projects import DEFAULT
from godwit.domain.wire.pages import Message
from godwit.domain.wire.specs import Name
from pydantic import Field

Expiry = Annotated[float, Field(gt=0, le=1e11, allow_inf_nan=False)]


class KeyIn(Message):
    """A key that is wanted: for all services of a project, or those named. Limits are per minute and per gateway.

    `expires_at` is in seconds since the epoch; None: until it is removed.
    """

    project: Name = DEFAULT
    services: Annotated[list[Name], Field(max_length=1_000)] = Field(default_factory=list)
    requests_per_min: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    tokens_per_min: Annotated[int, Field(ge=1, le=2**53)] | None = None
    priority: Literal["interactive", "batch"] = "interactive"
    expires_at: Expiry | None = None


class KeyView(KeyIn):
    """A key as it is shown: its text is known to its owner alone."""

    id: str


class KeyMade(KeyView):
    """A new key. `text` is shown once, and only its SHA-256 is kept."""

    text: str
