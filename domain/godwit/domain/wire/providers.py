"""What the API shows and takes of providers. Instants are seconds since the epoch, UTC."""

from typing import Annotated

from godwit.domain.wire.pages import Message
from godwit.domain.wire.specs import NAME_PATTERN
from pydantic import Field, JsonValue


class CallsView(Message):
    """Calls to a provider within the last `window_s`: how many, errors by class, seconds that a call took."""

    window_s: float
    calls: int = 0
    errors: dict[str, int] = Field(default_factory=dict)
    median_s: float | None = None
    p99_s: float | None = None


class ProviderView(Message):
    """A configured provider, how its last contact went, and how the calls to it go.

    `offers_at` is when its offers were last read well; `offers_trouble` is why they cannot be read now, since
    `offers_trouble_since`. `foreign` counts the account's living instances that this control plane did not launch;
    `foreign_ids` are the newest, 20 at the most. `calls` is over all methods, `calls_by_method` of each.
    """

    name: str
    reachable: bool
    offers: int
    nodes: int
    last_contact_at: float | None
    detail: str
    offers_at: float | None = None
    offers_trouble: str = ""
    offers_trouble_since: float | None = None
    foreign: int = 0
    foreign_ids: list[str] = Field(default_factory=list)
    calls: CallsView | None = None
    calls_by_method: dict[str, CallsView] = Field(default_factory=dict)


class ProviderKindView(Message):
    """A kind of provider: what may be told of it, and which credentials it needs (key: where a person finds it)."""

    kind: str
    title: str
    options: dict[str, str]
    secrets: dict[str, str]


class ProviderIn(Message):
    """An account to add; it is called like its kind unless it is named."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    name: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    options: Annotated[dict[str, JsonValue], Field(max_length=64)] = Field(default_factory=dict)
    secrets: Annotated[dict[str, Annotated[str, Field(max_length=16_384)]], Field(max_length=16, repr=False)] = Field(
        default_factory=dict
    )


class QuotaView(Message):
    """What is left of one of an account's limits; None where the provider does not say."""

    name: str
    limit: float | None
    left: float | None


class StandingView(Message):
    """How an account stands."""

    name: str
    reachable: bool
    account: str = ""
    permitted: list[str] = Field(default_factory=list)
    quotas: list[QuotaView] = Field(default_factory=list)
    detail: str = ""
