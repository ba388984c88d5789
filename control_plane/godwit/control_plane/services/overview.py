"""The first screen: what is broken, what is idle and costs how much, who waits and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from godwit.control_plane.contacts import Contact
from godwit.control_plane.context import Context
from godwit.control_plane.executors import dispatching
from godwit.control_plane.services import fleet_load, fleet_map, incidents, service_views
from godwit.control_plane.services.fleet_map import Drawn
from godwit.control_plane.store import fleet_rows, health, sums
from godwit.control_plane.store import services as stored
from godwit.domain.health import IncidentState
from godwit.domain.nodes import NodeState
from godwit.domain.wire import overview as wire
from godwit.domain.wire.fleet import GPU_USES, GpuUse
from godwit.domain.wire.overview import QueueView
from sqlalchemy import Connection

SHOWN_MAX, IDLE_NODES_MAX = 20, 10
"""What one list shows at the most: more is not read in five seconds, and the pages behind list all."""

DAY_S = 86_400.0

_OPEN = [state for state in IncidentState if state is not IncidentState.CLOSED]
_BROKEN, _HELD = (GpuUse.BROKEN, GpuUse.LOST), (GpuUse.HELD, GpuUse.SUSPECT)


def first_screen(
    context: Context, contacts: Mapping[str, Contact], queue: QueueView, project: str | None
) -> wire.OverviewView:
    """All of it as of now; with a `project`, jobs and services of others are left out."""
    now = context.now()
    midnight = now - now % DAY_S
    with context.db.read() as conn:
        rows = fleet_rows.read(conn)
        nodes = fleet_map.draw(rows)
        counted = sums.services_lacking(conn)
        lacking = (stored.get(conn, service_id) for service_id in counted.lacking)
        mine = (one for one in lacking if project in {None, one.project})
        services = [service_views.view(conn, one) for one in islice(mine, SHOWN_MAX)]
        return wire.OverviewView(
            at=now,
            broken=_broken(context, conn, nodes, contacts, rows, project),
            idle=_idle(nodes),
            load=fleet_load.of(nodes, context.loads.newest(now), rows.jobs, project),
            waiting=_waiting(queue),
            services=services,
            money=_money(context, nodes, sums.usd_since(conn, midnight, now)),
            counts=wire.CountsView(
                nodes=dict(Counter(str(node.state) for node in nodes)),
                gpus={str(GPU_USES[use]): n for use, n in Counter(c.use for o in nodes for c in o.cells).items()},
                jobs=sums.jobs_by_state(conn, midnight),
                services=counted.by_state,
            ),
        )


def _broken(
    context: Context,
    conn: Connection,
    nodes: Sequence[Drawn],
    contacts: Mapping[str, Contact],
    rows: fleet_rows.FleetRows,
    project: str | None,
) -> wire.BrokenView:
    lost = sorted((node for node in nodes if node.state is NodeState.LOST), key=lambda node: (-node.price, node.id))
    shown = {job_id for job_id, row in rows.jobs.items() if project in {None, row.project}}
    incidents_shown = incidents.page(context, SHOWN_MAX, None, _OPEN, None, None)
    if project is not None:  # which jobs of others had to leave is not told
        incidents_shown = [one.model_copy(update={"jobs": []}) for one in incidents_shown]
    return wire.BrokenView(
        # A node without GPUs that is lost costs its whole price; of others, the part that is broken counts.
        usd_per_hour=round(
            sum(node.usd_per_hour(*_BROKEN) if node.cells else node.price * (node in lost) for node in nodes), 4
        ),
        gpus=sum(node.count(*_BROKEN) for node in nodes),
        nodes=len(lost),
        incidents=sum(rows.open_incidents.values()),
        open_incidents=incidents_shown,
        lost_nodes=[_lost(node, shown) for node in lost[:SHOWN_MAX]],
        providers=[one for name, contact in sorted(contacts.items()) for one in _troubles(name, contact)],
        breaker=health.breaker(conn).reason,
        executors=dispatching.trouble(conn),
    )


def _lost(of: Drawn, shown: set[str]) -> wire.LostNodeView:
    return wire.LostNodeView(
        node_id=of.id, provider=of.offer["provider"], region=of.offer["region"], since=of.since, gpus=len(of.cells),
        usd_per_hour=of.price, detail=of.detail,
        jobs=sorted({cell.owner for cell in of.cells if cell.owner in shown and cell.owner is not None}),
    )  # fmt: skip


def _troubles(name: str, of: Contact) -> list[wire.ProviderTroubleView]:
    if of.trouble and of.listed_at is not None:
        return [wire.ProviderTroubleView(name=name, trouble=of.trouble, since=None)]
    if of.offers_trouble:
        return [wire.ProviderTroubleView(name=name, trouble=of.offers_trouble, since=of.offers_trouble_since)]
    return []


def _idle(nodes: Sequence[Drawn]) -> wire.IdleView:
    found = [(node.usd_per_hour(GpuUse.IDLE), node) for node in nodes if node.count(GpuUse.IDLE)]
    worst = sorted(found, key=lambda one: (-one[0], one[1].id))[:IDLE_NODES_MAX]
    return wire.IdleView(
        gpus=sum(node.count(GpuUse.IDLE) for _, node in found),
        usd_per_hour=round(sum(usd for usd, _ in found), 4),
        held_gpus=sum(node.count(*_HELD) for node in nodes),
        held_usd_per_hour=round(sum(node.usd_per_hour(*_HELD) for node in nodes), 4),
        nodes=[
            wire.IdleNodeView(
                node_id=node.id, provider=node.offer["provider"], region=node.offer["region"],
                gpus=node.count(GpuUse.IDLE), of_gpus=len(node.cells), since=node.idle_since,
                usd_per_hour=round(usd, 4),
            )
            for usd, node in worst
        ],
    )  # fmt: skip


def _waiting(queue: QueueView) -> wire.WaitingView:
    return wire.WaitingView(
        jobs=queue.jobs,
        gpus=sum(one.gpus_wanted for one in queue.items),
        oldest_since=min((one.since for one in queue.items), default=None),
        first=queue.items[:SHOWN_MAX],
    )


def _money(context: Context, nodes: Sequence[Drawn], usd_today: float) -> wire.MoneyView:
    paid = [node for node in nodes if node.name]  # what has no instance yet costs nothing
    by_provider = Counter[str]()
    for node in paid:
        by_provider[node.offer["provider"]] += node.price  # type: ignore[assignment]
    return wire.MoneyView(
        usd_per_hour=round(sum(node.price for node in paid), 4),
        usd_today=round(usd_today, 4),
        spot_usd_per_hour=round(sum(node.price for node in paid if node.offer["spot"]), 4),
        busy_usd_per_hour=round(sum(node.usd_per_hour(GpuUse.BUSY) for node in paid), 4),
        usd_per_hour_by_provider={name: round(usd, 4) for name, usd in sorted(by_provider.items())},
        # Only what costs nobody anything lets itself be broken on purpose.
        is_simulated=all(one.capabilities.drills for one in context.providers.values()),
    )
