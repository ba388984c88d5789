"""How hard the fleet works that programs have: its mean, and what of it does nothing now and costs how much."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from godwit.control_plane.loads import NodeLoads
from godwit.control_plane.services.fleet_map import USE, Drawn
from godwit.domain.wire import overview as wire
from godwit.domain.wire.fleet import GpuUse
from godwit.scheduler.idle_jobs import BUSY_PERCENT

JOBS_MAX = 10
_BUSY = USE[GpuUse.BUSY]


def of(nodes: Iterable[Drawn], loads: NodeLoads, jobs: Mapping[str, Any], project: str | None) -> wire.LoadView:
    """The fleet as drawn, of which `loads` is known; with a `project` only its jobs are named. Pure."""
    percents: list[float] = []
    quiet, usd = Counter[str](), Counter[str]()
    for node in nodes:
        told = loads.get(node.id)
        if told is None:
            continue
        for index, cell in zip(node.indexes, node.cells, strict=True):
            gpu = told.get(index) if cell.use == _BUSY else None
            if gpu is None:
                continue
            percents.append(gpu.busy_percent)
            if gpu.busy_percent < BUSY_PERCENT:
                quiet[cell.owner or ""] += 1
                usd[cell.owner or ""] += node.price / len(node.cells)  # type: ignore[assignment]
    worst = sorted(quiet, key=lambda job_id: (-usd[job_id], job_id))
    mine = [jobs[one] for one in worst if one in jobs and project in {None, jobs[one].project}]
    return wire.LoadView(
        gpus=len(percents),
        busy_percent=round(sum(percents) / len(percents), 1) if percents else None,
        quiet_gpus=quiet.total(),
        quiet_usd_per_hour=round(sum(usd.values()), 4),
        quiet_jobs=[
            wire.QuietJobView(
                id=row.id, name=row.name, project=row.project, gpus=quiet[row.id], usd_per_hour=round(usd[row.id], 4)
            )
            for row in mine[:JOBS_MAX]
        ],
    )  # fmt: skip
