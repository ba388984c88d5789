"""Where the money went: what the ledger of the whole fleet answers.

    GET /v1/costs?by=project&since=1763600000&until=1764204800&bucket=3600&limit=100   -> CostsView
    GET /v1/budgets                                                                    -> BudgetsView
    PUT /v1/projects/NAME/budget                                                       BudgetIn -> BudgetView; DELETE

Each second of each GPU of each node that was paid for has one reason: busy, starting, checkpointing, recovering,
draining, waiting, held, broken or idle. So the reasons of an answer add up to what was paid, and the rows do as well:
what nobody's job held is in the row whose key is "".
"""

from enum import StrEnum
from typing import Annotated

from godwit.domain.wire.pages import Message
from pydantic import Field


class By(StrEnum):
    """What rows of costs stand for."""

    PROJECT = "project"
    USER = "user"
    JOB = "job"
    PROVIDER = "provider"
    REASON = "reason"


class OnBudget(StrEnum):
    """What happens when a budget is spent: people are told; or nothing new starts either; or what runs stops too."""

    WARN = "warn"
    STOP_NEW = "stop-new"
    STOP = "stop"


class CostRow(Message):
    """What one project, user, job, provider or reason cost. `usd` is all of it: nodes, egress and storage.

    `key` is its name (of a job: its id), "" for what belongs to nobody, such as idle nodes; `label` is for people (of a
    job: its name). `gpu_s` and `usd_by_reason` are by reason, without zeros, and are of nodes alone; `spot_usd` is the
    part of them that was paid for spot machines. A node without GPUs costs dollars and no GPU-seconds.
    `tokens` are what its services made, prompt and completion together, None where none served.
    """

    key: str
    label: str
    usd: float
    gpu_s: dict[str, float] = Field(default_factory=dict)
    usd_by_reason: dict[str, float] = Field(default_factory=dict)
    spot_usd: float = 0.0
    egress_usd: float = 0.0
    storage_usd: float = 0.0
    tokens: int | None = None
    usd_per_million_tokens: float | None = None


class CostSeries(Message):
    """The sums over time, in columns: `at` holds the beginning of each bucket, oldest first.

    `usd` and `gpu_s` have a list as long as `at` for each reason that occurs, to be stacked in the order of `reasons`.
    """

    bucket_s: float
    at: list[float]
    reasons: list[str]
    usd: dict[str, list[float]]
    gpu_s: dict[str, list[float]]


class WasteRow(Message):
    """Money that bought no work, and what would have avoided it.

    `kind` is idle, fragmentation (idle beside GPUs that are held), broken, recovering, held or starting. `subject` is
    what most of it went to: a node, a provider's offer, a job. `usd` of all rows is the money lost; none counts twice.
    """

    kind: str
    subject: str
    usd: float
    gpu_s: float
    message: str
    would_avoid: str


class BudgetIn(Message):
    """A project's budget for each calendar month (UTC), and what happens once it is spent."""

    budget_usd: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
    on_spent: OnBudget = OnBudget.WARN


class BudgetView(Message):
    """A budget and what is spent of it. `subject` is "project" or "job", `key` its name or id, `label` for people.

    Of a project it is for the calendar month that began at `since` (UTC), of a job for all its life. `ends_at` is when
    it is spent at the pace of now (`usd_per_hour`), None where nothing is being spent. `alerts` are the shares (0.5,
    0.8, 1) that it has passed.
    """

    subject: str
    key: str
    label: str
    budget_usd: float
    spent_usd: float
    usd_per_hour: float
    since: float
    on_spent: OnBudget
    alerts: list[float] = Field(default_factory=list)
    ends_at: float | None = None


class BudgetsView(Message):
    """Every budget, those of projects first."""

    budgets: list[BudgetView]


class CostsView(Message):
    """Costs between two instants, by what was asked for: dearest rows first, a page of them.

    `total` is of all rows, on whatever page. `settled_until`: before it the hours are closed and change no more; what
    is later is worked out anew. `waste` is the money lost in the same time, dearest first. `services` are what services
    cost and served (key: project/name), also where rows are by something else.
    """

    by: By
    since: float
    until: float
    settled_until: float
    total: CostRow
    rows: list[CostRow]
    next_cursor: str | None = None
    series: CostSeries
    waste: list[WasteRow]
    lost_usd: float
    budgets: list[BudgetView] = Field(default_factory=list)
    usd_per_hour: float
    services: list[CostRow] = Field(default_factory=list)
