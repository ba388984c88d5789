"""The fleet as it is drawn: what each GPU is doing, for whom, and what that costs; made for tens of thousands."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from godwit.control_plane.loads import NodeLoads
from godwit.control_plane.store.fleet_rows import FleetRows
from godwit.domain.jobs import AttemptState
from godwit.domain.nodes import Health, NodeState
from godwit.domain.wire.fleet import GPU_USES, HEALTHS, NODE_STATES, GpuUse
from godwit.domain.wire.loads import GpuLoad
from pydantic_core import from_json

USE = {use: code for code, use in enumerate(GPU_USES)}
HEALTH = {health: code for code, health in enumerate(HEALTHS)}
"""Codes are the places in the tables of the answer. Inner loops compare these: hashing an enum's member takes longer
than all else that is done with a GPU."""

_N = NodeState
_UNFIT = {HEALTH[Health.FAULTY], HEALTH[Health.QUARANTINED], HEALTH[Health.RETIRED]}
_HEALTHY, _SUSPECT, _IDLE = HEALTH[Health.HEALTHY], HEALTH[Health.SUSPECT], USE[GpuUse.IDLE]
_OF_NODE: Mapping[str, int] = {
    str(_N.REQUESTED): USE[GpuUse.STARTING],
    str(_N.PROVISIONING): USE[GpuUse.STARTING],
    str(_N.JOINING): USE[GpuUse.STARTING],
    str(_N.LOST): USE[GpuUse.LOST],
    str(_N.DRAINING): USE[GpuUse.DRAINING],
    str(_N.TERMINATING): USE[GpuUse.DRAINING],
}
_OF_ATTEMPT: Mapping[str, int] = {
    str(AttemptState.STARTING): USE[GpuUse.STARTING],
    str(AttemptState.RUNNING): USE[GpuUse.BUSY],
    str(AttemptState.STOPPING): USE[GpuUse.DRAINING],
}
_BY_WORD = {str(health): code for health, code in HEALTH.items()}


_Fields = tuple[int, int, str | None]
_LEVELS = 255


class Cell(NamedTuple):
    """One GPU: the codes of what it is doing and of its health, and the job that holds it or for which it is kept."""

    use: int
    health: int
    owner: str | None


@dataclass(frozen=True)
class Drawn:
    """One node with its cells, in the order of `indexes`. `offer` is what it was bought as, as its row has it; prices
    are in USD per hour.
    """

    id: str
    name: str
    state: NodeState
    since: float
    idle_since: float | None
    detail: str
    offer: Mapping[str, Any]
    health: int
    incidents: int
    cells: Sequence[Cell]
    indexes: Sequence[int] = ()

    @property
    def price(self) -> float:
        """What it costs per hour."""
        return float(self.offer["price_usd_per_hour"])

    def usd_per_hour(self, *uses: GpuUse) -> float:
        """The part of its price that its GPUs of these uses cost."""
        return self.price * self.count(*uses) / max(1, len(self.cells))

    def count(self, *uses: GpuUse) -> int:
        """How many of its GPUs are of these uses."""
        wanted = [USE[use] for use in uses]
        return sum(cell.use in wanted for cell in self.cells)


def draw(rows: FleetRows) -> list[Drawn]:
    """Every living node, grouped: by provider, region, fabric domain, then id. Pure."""
    holders = _holders(rows)
    nodes = [_node(row, holders, rows) for row in rows.nodes]
    return sorted(nodes, key=lambda n: (n.offer["provider"], n.offer["region"], n.offer["fabric_domain"] or "", n.id))


def _holders(rows: FleetRows) -> dict[str, dict[int, tuple[int, str]]]:
    """By node and index of GPU: what the attempt that holds it makes of it, and its job."""
    found: dict[str, dict[int, tuple[int, str]]] = {}
    for row in rows.attempts:
        holder = (_OF_ATTEMPT[row.state], row.job_id)
        for slot in from_json(row.slots):
            if not slot.get("released"):
                found.setdefault(slot["node_id"], {}).update(dict.fromkeys(slot["gpus"], holder))
    return found


def _node(row: Any, holders: Mapping[str, Mapping[int, tuple[int, str]]], rows: FleetRows) -> Drawn:
    offer = from_json(row.offer)
    # A machine that has not joined tells of no GPUs yet: it has those that it was sold with.
    told = _told(row.gpus) or tuple((index, _HEALTHY) for index in range(offer["gpu_count"]))
    cells = [_one(*cell) for cell in _cells(row, told, holders.get(row.id, {}))]
    own = _BY_WORD[rows.unfit.get(row.id, "healthy")]
    return Drawn(
        row.id, row.instance_id or "", NodeState(row.state), row.state_since, row.idle_since, row.detail, offer,
        max([own, *(cell.health for cell in cells)]), rows.open_incidents.get(row.id, 0), cells,
        [index for index, _ in told],
    )  # fmt: skip


def _cells(row: Any, told: Sequence[tuple[int, int]], held: Mapping[int, tuple[int, str]]) -> Iterator[_Fields]:
    """A node's GPUs: broken ones first of all, then what its node's state makes of all of them, then who holds each."""
    of_node, kept_for = _OF_NODE.get(row.state), row.reserved_for
    kept = kept_for is not None or row.state == _N.CORDONED
    free = (USE[GpuUse.HELD] if kept else _IDLE, kept_for)
    for index, health in told:
        use, owner = held.get(index, free)
        use = use if of_node is None else of_node
        if health != _HEALTHY:
            if health in _UNFIT:
                use = USE[GpuUse.BROKEN]
            elif health == _SUSPECT and of_node is None and index not in held:
                use = USE[GpuUse.SUSPECT]
        yield use, health, owner


# What one GPU is, is what most of its neighbours are: to make each anew takes four times as long.
_one = lru_cache(maxsize=65_536)(Cell)


@lru_cache(maxsize=16_384)
def _told(gpus: str) -> tuple[tuple[int, int], ...]:
    """The index and health of each GPU in a node's column, which stays the same from reading to reading."""
    return tuple((gpu["index"], _BY_WORD[gpu["health"]]) for gpu in from_json(gpus))


class _Names:
    """A table of names: the same name has the same number; none is -1."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, name: str | None) -> int:
        return -1 if name is None else self.numbers.setdefault(name, len(self.numbers))

    def __iter__(self) -> Iterator[str]:
        return iter(self.numbers)


def columns(
    nodes: Sequence[Drawn], jobs: Mapping[str, Any], project: str | None, loads: NodeLoads = MappingProxyType({})
) -> dict[str, Any]:
    """The fields of a `FleetView` but for its version and instant; with a `project` it names only that one's jobs."""
    mine = {job_id: row for job_id, row in jobs.items() if project in {None, row.project}}
    tables = {name: _Names() for name in ("providers", "regions", "zones", "domains", "instance_types", "gpu_models")}
    owners = _Names()
    node_states = {state: code for code, state in enumerate(NODE_STATES)}
    cells = [cell for node in nodes for cell in node.cells]

    def named(table: str, field: str) -> list[int]:
        return [tables[table].of(node.offer[field]) for node in nodes]

    return {
        "nodes": {
            "id": [node.id for node in nodes],
            "name": [node.name for node in nodes],
            "provider": named("providers", "provider"),
            "region": named("regions", "region"),
            "zone": named("zones", "zone"),
            "domain": named("domains", "fabric_domain"),
            "instance_type": named("instance_types", "instance_type"),
            "state": [node_states[node.state] for node in nodes],
            "health": [node.health for node in nodes],
            "gpu_count": [len(node.cells) for node in nodes],
            "gpu_model": named("gpu_models", "gpu_model"),
            "price": [round(node.price, 4) for node in nodes],
            "spot": [int(node.offer["spot"]) for node in nodes],
            "since": [int(node.since) for node in nodes],
            "incidents": [node.incidents for node in nodes],
        },
        "gpus": {
            "use": [cell.use for cell in cells],
            "health": [cell.health for cell in cells],
            "owner": [owners.of(cell.owner if cell.owner in mine else None) for cell in cells],
            "utilization": [level for node in nodes for level in _levels(node, loads.get(node.id))],
        },
        "tables": {
            **{name: list(table) for name, table in tables.items()},
            "owners": [_owner(mine[job_id]) for job_id in owners],
            "node_states": [str(one) for one in NODE_STATES],
            "gpu_uses": [str(one) for one in GPU_USES],
            "healths": [str(one) for one in HEALTHS],
        },
    }


def _levels(node: Drawn, told: Mapping[int, GpuLoad] | None) -> Iterator[int]:
    """How busy each of its GPUs is, 0 to 255; -1 where nobody said so lately."""
    for index in node.indexes:
        gpu = None if told is None else told.get(index)
        yield -1 if gpu is None else round(gpu.busy_percent * _LEVELS / 100)


def _owner(row: Any) -> dict[str, str]:
    return {"id": row.id, "name": row.name, "project": row.project, "kind": row.kind, "state": row.state}
