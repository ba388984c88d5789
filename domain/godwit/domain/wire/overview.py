"""What the first screen says in five seconds: what is broken, what is idle and costs how much, who waits and why."""

from typing import Literal

from godwit.domain.wire.incidents import IncidentView
from godwit.domain.wire.pages import Message
from godwit.domain.wire.services import ServiceView
from godwit.domain.wire.views import OutlookView, RefusalView
from pydantic import Field


class LostNodeView(Message):
    """A node that nobody hears: since when, and what it costs meanwhile. `jobs` are those that ran there, by id."""

    node_id: str
    provider: str
    region: str
    since: float
    gpus: int
    usd_per_hour: float
    detail: str
    jobs: list[str]


class ProviderTroubleView(Message):
    """A provider that does not answer as it should; `since` is None where nobody saw it begin."""

    name: str
    trouble: str
    since: float | None


class BrokenView(Message):
    """What is broken. Lists show the most expensive, or else the newest, 20 at the most; counts count all.

    `usd_per_hour` is what broken GPUs and lost nodes cost while they give nothing. `breaker` says why automation takes
    no more nodes out, and is empty while it may; `executors` why no worker launches or ends anything, likewise.
    """

    usd_per_hour: float
    gpus: int
    nodes: int
    incidents: int
    open_incidents: list[IncidentView]
    lost_nodes: list[LostNodeView]
    providers: list[ProviderTroubleView]
    breaker: str = ""
    executors: str = ""


class IdleNodeView(Message):
    """A node with GPUs on which nothing runs: how many, since when (None: some of it is in use), and what they cost."""

    node_id: str
    provider: str
    region: str
    gpus: int
    of_gpus: int
    since: float | None
    usd_per_hour: float


class IdleView(Message):
    """What is paid for and could be used. `nodes` are the most expensive ones, 10 at the most.

    `held_gpus` are kept for jobs or on cordoned nodes, at `held_usd_per_hour`; they are not among `gpus`.
    """

    gpus: int
    usd_per_hour: float
    held_gpus: int
    held_usd_per_hour: float
    nodes: list[IdleNodeView]


class QuietJobView(Message):
    """A job whose program runs, and of whose GPUs `gpus` do nothing now, at `usd_per_hour`."""

    id: str
    name: str
    project: str
    gpus: int
    usd_per_hour: float


class LoadView(Message):
    """How hard GPUs work on which programs run, as far as their agents told lately: `gpus` of them.

    `busy_percent` is their mean, None of none. `quiet_gpus` of them do nothing now, at `quiet_usd_per_hour`; of their
    jobs the most expensive ones are listed, 10 at the most.
    """

    gpus: int
    busy_percent: float | None
    quiet_gpus: int
    quiet_usd_per_hour: float
    quiet_jobs: list[QuietJobView]


class WaitingJobView(Message):
    """A job that waits. `reason` is the first thing that keeps it, None where it would start now; `why`: in words.

    `gpus_wanted` counts those of all its nodes, of the fewest with which it would begin.
    """

    id: str
    name: str
    project: str
    kind: str
    state: str
    priority: int
    gpus: str
    nodes: str
    gpus_wanted: int
    since: float
    outlook: OutlookView | None = None
    reason: RefusalView | None = None
    why: str = ""


class QueueView(Message):
    """Jobs that wait, in the order in which they would be served now; `jobs` counts all, of which these are the first.

    What waits for other jobs comes last, without an outlook.
    """

    at: float
    jobs: int
    items: list[WaitingJobView]


class WaitingView(Message):
    """Who waits: how many jobs, for how many GPUs at least, and the first 20 in the order of the queue."""

    jobs: int
    gpus: int
    oldest_since: float | None
    first: list[WaitingJobView]


class MoneyView(Message):
    """Dollars: what all nodes cost per hour now, and since midnight UTC, from their launch on.

    It is an estimate for the eye; GET /v1/costs accounts for each second.
    """

    usd_per_hour: float
    usd_today: float
    spot_usd_per_hour: float
    busy_usd_per_hour: float
    usd_per_hour_by_provider: dict[str, float]
    is_simulated: bool = False
    """Whether all these providers are simulated ones, that take no money."""


class CountsView(Message):
    """How many there are, by state; what is zero is left out. `gpus` is by what they are doing."""

    nodes: dict[str, int]
    gpus: dict[str, int]
    jobs: dict[str, int]
    services: dict[str, int] = Field(default_factory=dict)


class OverviewView(Message):
    """The first screen. `services` are those that have fewer ready replicas than wanted, or change backwards."""

    at: float
    broken: BrokenView
    idle: IdleView
    waiting: WaitingView
    services: list[ServiceView]
    money: MoneyView
    counts: CountsView
    load: LoadView | None = None


Resource = Literal["jobs", "nodes", "incidents", "services", "projects", "providers", "migrations", "other"]


class ChangeView(Message):
    """What changed since the one before, in a stream: ids by resource; an empty list says: reload all of it.

    `seq` is the number of the last event that it covers.
    """

    seq: int
    at: float
    changed: dict[Resource, list[str]]
