"""The whole fleet in one answer, made to be drawn: columns instead of objects, and names once, in tables.

Row `i` of every node column is one node. Its GPUs are the next `gpu_count[i]` rows of the GPU columns, in the order of
their indexes, so that 40,000 GPUs need no ids of their own. A number that names something is an index into the table of
the same name; -1 says that there is none.
"""

from enum import StrEnum

from godwit.domain.nodes import Health, NodeState
from godwit.domain.wire.pages import Message
from pydantic import Field


class GpuUse(StrEnum):
    """What a GPU is doing, in one word; the first that applies counts, in the order of `broken` to `idle` below.

    `broken`: faulty, in quarantine or retired. `lost`: nobody hears its node. `draining`: its node is on its way out,
    or its program stops. `starting`: its node comes up, or a program starts there. `busy`: a program runs. `suspect`:
    nothing runs, and nothing may until it was tested. `held`: nothing runs, and it is kept for a job, or its node is
    cordoned. `idle`: anybody may have it.
    """

    IDLE = "idle"
    BUSY = "busy"
    HELD = "held"
    STARTING = "starting"
    BROKEN = "broken"
    SUSPECT = "suspect"
    DRAINING = "draining"
    LOST = "lost"


GPU_USES = tuple(GpuUse)
NODE_STATES = tuple(NodeState)
HEALTHS = tuple(Health)

UTILIZATION_MAX = 255
"""What stands for a GPU that is busy all the time."""


class OwnerView(Message):
    """A job that holds GPUs, as far as drawing and searching need it."""

    id: str
    name: str
    project: str
    kind: str
    state: str


class FleetTables(Message):
    """What the numbers of the columns name. `node_states`, `gpu_uses`, `healths` are the same in every answer."""

    providers: list[str]
    regions: list[str]
    zones: list[str]
    domains: list[str]
    instance_types: list[str]
    gpu_models: list[str]
    owners: list[OwnerView]
    node_states: list[str] = Field(default_factory=lambda: [str(one) for one in NODE_STATES])
    gpu_uses: list[str] = Field(default_factory=lambda: [str(one) for one in GPU_USES])
    healths: list[str] = Field(default_factory=lambda: [str(one) for one in HEALTHS])


class NodeColumns(Message):
    """Living nodes, grouped: by provider, region, domain, then id. `name` is what the provider calls the machine.

    `health` is the worst of its GPUs' and its own. `domain` is the fabric that nodes share. `price` is in USD per hour.
    `since` is when it came into its state, in whole seconds since the epoch. `incidents` counts those that are not
    closed. `spot` is 0 or 1.
    """

    id: list[str]
    name: list[str]
    provider: list[int]
    region: list[int]
    zone: list[int]
    domain: list[int]
    instance_type: list[int]
    state: list[int]
    health: list[int]
    gpu_count: list[int]
    gpu_model: list[int]
    price: list[float]
    spot: list[int]
    since: list[int]
    incidents: list[int]


class GpuColumns(Message):
    """GPUs of the nodes, in their order. `utilization` is 0 to 255, -1 where nobody measured it lately."""

    use: list[int]
    health: list[int]
    owner: list[int]
    utilization: list[int]


class FleetView(Message):
    """The fleet. `version` is the same for the same content, and is the ETag: ask again with If-None-Match.

    `at` is when it was read.
    """

    version: str
    at: float
    tables: FleetTables
    nodes: NodeColumns
    gpus: GpuColumns
