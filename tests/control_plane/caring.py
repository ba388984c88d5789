"""Decisions about health, made by a test in place of the policy, and carried out on a world."""

from dataclasses import replace
from typing import Any

from godwit.control_plane.reconcilers import apply
from godwit.control_plane.store import health as remembered
from godwit.control_plane.store import queries
from godwit.domain.events import Event
from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import FindingId, GpuUuid, IncidentId, NodeId
from godwit.scheduler.health.view import HealthView
from godwit.scheduler.plan import Action, DecideFinding, OpenIncident, Plan

from tests.control_plane.world import World


def view(world: World) -> HealthView:
    """What the planner may know of health now."""
    with world.db.read() as conn:
        return remembered.view(conn, world.clock.now())


def carry_out(world: World, *actions: Action) -> None:
    """Write these actions down as the planner's."""
    context, now = world.context, world.clock.now()
    with world.db.read() as conn:
        snapshot = queries.snapshot(conn, now, context.serving_since, context.policy)
    with world.db.write() as tx:
        apply.apply(tx, Plan(actions), snapshot, context.ids, now)


def incident(world: World, node_id: str, *gpus: int, **more: Any) -> Incident:
    """An incident as the policy would open it."""
    now = world.clock.now()
    begun = Incident(
        IncidentId(f"incident-{node_id}"), NodeId(node_id), "cheap", IncidentState.OPEN, now, now, "kernel-log",
        "xid:79", "table", "the GPU has fallen off the bus", Remedy.REBOOT,
        gpus=tuple(GpuUuid(f"GPU-{node_id}-{gpu}") for gpu in gpus),
    )  # fmt: skip
    return replace(begun, **more)


def opened(world: World, node_id: str, *gpus: int, **more: Any) -> Incident:
    """The same, opened for the newest finding."""
    begun = incident(world, node_id, *gpus, **more)
    newest = view(world).findings[-1]
    decided = DecideFinding(FindingId(newest.id), begun.remedy, begun.rule, begun.reason, begun.id)
    carry_out(world, OpenIncident(begun, begun.reason), decided)
    return begun


def timeline(world: World, incident_id: str) -> list[Event]:
    """What happened for an incident, in the order in which it was told."""
    return [event for event in world.events() if event.subject == "incident" and event.subject_id == incident_id]
