"""Migrations as the API takes and shows them. Instants are seconds since the epoch, amounts are dollars."""

from typing import Annotated

from godwit.domain.wire.pages import Message
from pydantic import Field


class MigrationRequest(Message):
    """Move a running job to `to` (provider, provider/region or provider/region/zone; nothing: where it costs least).

    `store` (an fsspec URL) takes its checkpoints along to another store.
    """

    to: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    store: Annotated[str, Field(pattern=r"^([a-z0-9+.-]+://|/)\S+$", max_length=1024)] | None = None


class SumView(Message):
    """The inequality: `saving_usd_per_hour` x `left_h` = `saving_usd` against `cost_usd`; `text` is all of it."""

    from_usd_per_hour: float
    to_usd_per_hour: float
    saving_usd_per_hour: float
    left_h: float
    left_by: str
    saving_usd: float
    overlap_usd: float
    standstill_usd: float
    egress_usd: float
    cost_usd: float
    checkpoint_bytes: int
    text: str


class MeasuredView(Message):
    """What came of it so far: `saving_usd` in `hours` of work there, less what moving really cost (`cost_usd`)."""

    hours: float
    saving_usd: float
    overlap_usd: float
    standstill_usd: float
    egress_usd: float
    cost_usd: float
    net_usd: float


class MigrationPlan(Message):
    """What moving a job would do now. `why_not` is set where it would go nowhere; else `to` is where."""

    job_id: str
    job_name: str
    why_not: str = ""
    to: str = ""
    buys: dict[str, int] = Field(default_factory=dict)
    keeps: list[str] = Field(default_factory=list)
    price_usd_per_hour: float = 0.0
    sum: SumView | None = None


class MigrationView(Message):
    """One migration of a job. `downtime_s` lies between the last step there and the first step here."""

    id: str
    job_id: str
    state: str
    created_at: float
    state_since: float
    actor: str
    reason: str
    from_epoch: int
    to: str | None
    store: str | None
    nodes: list[str]
    moved_bytes: int
    downtime_s: float | None
    detail: str
    sum: SumView | None = None
    measured: MeasuredView | None = None
