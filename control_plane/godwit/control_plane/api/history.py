"""Routes for figures over time, and for the devices that failed before."""

from typing import Annotated

from fastapi import APIRouter, Query
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.jobs import JobRef, Limit
from godwit.control_plane.api.services import ServiceRef
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import history
from godwit.domain import resources
from godwit.domain.nodes import Health
from godwit.domain.wire.history import KnownDevice, PointsView, PriceSeries, TrafficHistory
from godwit.domain.wire.pages import Page

router = APIRouter(prefix="/v1")


@router.get("/jobs/{job}/progress")
def get_progress(state: Godwit, _actor: Actor, job: JobRef) -> PointsView:
    """What a job said of its progress so far: steps and metrics over time, in columns."""
    return history.of_job(state.context, job)


@router.get("/services/{service}/traffic")
def get_traffic(state: Godwit, _actor: Actor, service: ServiceRef) -> TrafficHistory:
    """What a service took in the last six hours, in columns."""
    return history.of_service(state.context, service)


@router.get("/prices")
def get_prices(
    state: Godwit,
    _actor: Actor,
    gpus: Annotated[str | None, Query(max_length=64, description="Only of these, such as H100 or H100:8.")] = None,
    since: Annotated[float, Query(ge=0, le=1e11, description="Seconds since the epoch.")] = 0.0,
) -> list[PriceSeries]:
    """What each place asked for GPUs over time: its cheapest offer of each kind."""
    ask = None if gpus is None else resources.parse_gpus(gpus if ":" in gpus else f"{gpus}:1")
    return history.prices(state.context, ask, since)


@router.get("/devices")
def list_devices(
    state: Godwit,
    _actor: Actor,
    only: Annotated[list[Health] | None, Query(alias="health", max_length=8)] = None,
    faults: Annotated[int, Query(ge=0, le=1_000_000, description="Only with so many incidents or more.")] = 0,
    cursor: Annotated[str | None, Query(max_length=9, pattern=r"^\d+$")] = None,
    limit: Limit = 100,
) -> Page[KnownDevice]:
    """GPUs and machines that are remembered, those with the most incidents first: with `faults=2`, the lemons."""
    offset = int(cursor or 0)
    found = history.devices(state.context, limit, offset, only or [], faults)
    return Page(items=found, next_cursor=str(offset + limit) if len(found) == limit else None)
