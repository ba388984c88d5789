"""What people do with a change of versions that is under way: hold it, let it go on, end it, or go back."""

from dataclasses import replace

from godwit.control_plane.context import Context
from godwit.control_plane.services import service_views
from godwit.control_plane.services.serving import serving_one, tell, to_specification
from godwit.domain.errors import Conflict, NotFound
from godwit.domain.services import Rollout, Service, Version
from godwit.domain.wire.services import RolloutWanted, ServiceView
from godwit.scheduler.serving import rollout


def change(context: Context, name_or_id: str, wanted: RolloutWanted, actor: str) -> ServiceView:
    """Do what is wanted; the same again changes nothing. Raises `NotFound`, or `Conflict` where it cannot be done."""
    now = context.now()
    with context.db.write() as tx:
        service = serving_one(tx.conn, name_or_id)
        if wanted.action == "undo" and (service.rollout is None or wanted.to is not None):
            before = version_before(service, wanted.to)
            service = to_specification(tx, service, before.spec, actor, now)
        else:
            found = under_way(service)
            changed = after(service, found, wanted.action, actor, now)
            if changed != found:
                reason = f"{actor} wants it: {wanted.action} the change to version {changed.to}"
                service = tell(tx, service, replace(service, rollout=changed), reason, actor, now)
        return service_views.view(tx.conn, service)


def after(service: Service, of: Rollout, action: str, actor: str, now: float) -> Rollout:
    """The change of versions once this was done to it. Raises `Conflict`. Pure."""
    if action == "undo":
        return of if of.backwards else replace(of, backwards="its owner takes it back", paused="")
    if of.backwards:
        raise Conflict(f"the change to version {of.to} is taken back already: {of.backwards}")
    if action == "pause":
        return of if of.paused else replace(of, paused=f"held by {actor}")
    if action == "resume":
        return rollout.resumed(of, now) if of.paused else of
    return rollout.promoted(of, service.newest.serving.change)


def under_way(service: Service) -> Rollout:
    """The change of versions that a service is in. Raises `Conflict` where there is none. Pure."""
    if service.rollout is None:
        raise Conflict(f"service {service.name} is at version {service.newest.number} and changes to no other")
    return service.rollout


def version_before(service: Service, number: int | None) -> Version:
    """The version of that number, or the last one before what it is at. Raises `Conflict`, `NotFound`. Pure."""
    if service.rollout is not None:
        raise Conflict(f"service {service.name} changes to version {service.rollout.to}; undo that first, without --to")
    others = {one.number: one for one in service.versions if one is not service.newest}
    older = [one for one in others if one < service.newest.number]
    wanted = max(older, default=None) if number is None else number
    if wanted is None or wanted not in others:
        which = "no version before the one it is at" if wanted is None else f"no version {wanted} to go back to"
        kept = ", ".join(map(str, sorted(others))) or "none"
        raise NotFound(f"service {service.name} has {which}; versions that are kept besides: {kept}")
    return others[wanted]
