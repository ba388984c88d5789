"""What an action on a service would do now; nothing is written. The words are for whoever confirms it."""

from collections.abc import Sequence

from godwit.control_plane.context import Context
from godwit.control_plane.services import rollouts, serving, traffic
from godwit.control_plane.store import queries, routing
from godwit.control_plane.store import services as stored
from godwit.domain.errors import Conflict, NotFound
from godwit.domain.services import Replica, ReplicaState, Service, ServiceState
from godwit.domain.wire.consequences import ConsequencesView
from godwit.domain.wire.services import RolloutWanted
from sqlalchemy import Connection


def of_scale(context: Context, name_or_id: str, replicas: int) -> ConsequencesView:
    """What another number of replicas would do. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        service = stored.get(conn, name_or_id)
        here = _staying(stored.replicas_of(conn, service.id))
        lines = _flying(conn, service, now)
    asked = service.newest.serving
    change = replicas - service.replicas
    why_not = _over(service)
    is_within = asked.replicas_min == asked.replicas_max or asked.replicas_min <= replicas <= asked.replicas_max
    if not why_not and not is_within:
        why_not = f"{replicas} is not within {asked.replicas_min}..{asked.replicas_max}, its own bounds"
    elif not why_not and not change:
        why_not = f"{_replicas(replicas)} {'is' if replicas == 1 else 'are'} wanted already"
    goes = max(0, len(here) - replicas)
    said = f"from {service.replicas} to {_replicas(replicas)}"
    if change > 0:
        said += f"; {change} more start on free GPUs, or on machines that are bought"
    if goes:
        said += f"; {goes} drain and stop once they have answered what they have"
    if not replicas:
        lines = [*lines, "nobody answers its requests then"]
    return ConsequencesView(text=said, lines=lines, why_not=why_not)


def of_move(context: Context, name_or_id: str, to: str | None) -> ConsequencesView:
    """What moving a service or one of its replicas would do. Raises `NotFound`, or `InvalidRequest` for the place."""
    now = context.now()
    where = serving.place(context, to)
    with context.db.read() as conn:
        service, going = serving.movable(conn, name_or_id)
        lines = _flying(conn, service, now)
    why_not = _over(service)
    if not why_not and all(one.moves_to == where for one in going):
        why_not = "all of it moves there already" if going else "it has no replica that could move"
    text = (
        f"{_replicas(len(going))} of {service.name} start in {where or 'another place, where it costs least,'} first; "
        "those here drain and stop once these take requests"
    )
    return ConsequencesView(text=text, lines=lines, why_not=why_not)


def of_removal(context: Context, name_or_id: str) -> ConsequencesView:
    """What removing a service would do. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        service = stored.get(conn, name_or_id)
        replicas = stored.replicas_of(conn, service.id)
        ids = {one.job_id for one in replicas}
        slots = [slot for one in queries.live_attempts(conn) if one.job_id in ids for slot in one.slots]
        lines = _flying(conn, service, now)
    text = f"{_replicas(len(replicas))} drain and stop, for good; requests to {service.name} are refused from then on"
    gpus = sum(len(slot.gpus) for slot in slots if not slot.released)
    if gpus:
        lines = [*lines, f"{gpus} GPUs become free; the machines stay until they have idled for long enough"]
    return ConsequencesView(text=text, lines=lines, why_not=_over(service))


def of_rollout(context: Context, name_or_id: str, wanted: RolloutWanted) -> ConsequencesView:
    """What holding, ending or taking back a change of versions would do. Raises `NotFound`."""
    now = context.now()
    with context.db.read() as conn:
        service = stored.get(conn, name_or_id)
        lines = _flying(conn, service, now)
    why_not = _over(service)
    try:
        text = "" if why_not else _changed(service, wanted)
    except (Conflict, NotFound) as exc:
        text, why_not = "", exc.message
    return ConsequencesView(text=text or f"{service.name} stays as it is", lines=lines, why_not=why_not)


def _changed(service: Service, wanted: RolloutWanted) -> str:
    """Raises what the action itself would."""
    if wanted.action == "undo" and (service.rollout is None or wanted.to is not None):
        to = rollouts.version_before(service, wanted.to)
        return (
            f"{service.name} goes back from version {service.newest.number} to the program of version {to.number}, as "
            "a new version: its replicas start first, and those of now drain once these take requests"
        )
    of = rollouts.under_way(service)
    rollouts.after(service, of, wanted.action, "nobody", 0.0)
    return {
        "pause": f"the change to version {of.to} stays where it is until somebody lets it go on",
        "resume": f"the change to version {of.to} goes on",
        "promote": f"version {of.to} takes all requests as soon as it has replicas for them, without waiting",
        "undo": f"version {of.before} takes all requests again; replicas of version {of.to} drain and stop",
    }[wanted.action]


def _over(service: Service) -> str:
    return "" if service.state is ServiceState.SERVING else f"it is {service.state}"


def _staying(replicas: Sequence[Replica]) -> list[Replica]:
    return [one for one in replicas if one.state is not ReplicaState.DRAINING]


def _flying(conn: Connection, service: Service, now: float) -> list[str]:
    """How many requests it has now, where a gateway knows."""
    measured = traffic.measured(routing.all_gateways(conn, now), service.project, service.name, now)
    if measured is None:
        return []
    return [f"{measured.in_flight} {'request is' if measured.in_flight == 1 else 'requests are'} in flight"]


def _replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"
