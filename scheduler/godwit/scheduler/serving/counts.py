"""How many replicas of each version there should be, and which part of the requests each version gets."""

import math
from collections.abc import Mapping

from godwit.domain.services import ReplicaState, Rollout, Service
from godwit.domain.serving import Strategy
from godwit.scheduler.serving.view import View

_STARTED = (ReplicaState.STARTING, ReplicaState.READY)


def wanted(view: View) -> dict[int, int]:
    """Replicas of each version by its number; a version that is not named should have none.

    Together they are never fewer than the service wants, of those that take requests: while a version changes, a new
    replica comes first and an old one goes once the new one is ready.
    """
    service, rollout, count = view.service, view.service.rollout, view.service.replicas
    if rollout is None:
        return {service.newest.number: count}
    new, old = len(view.ready(rollout.to)), len(view.ready(rollout.before))
    if rollout.backwards:
        return {rollout.before: count, rollout.to: max(0, count - old)}
    change = service.newest.serving.change
    if change.strategy is Strategy.ROLLING:
        started = [one for one in view.replicas if one.number == rollout.to and one.state in _STARTED]
        further = len(started) if rollout.paused else new + 1
        return {rollout.to: min(count, further), rollout.before: max(0, count - new)}
    if change.strategy is Strategy.CANARY and rollout.step < len(change.steps):
        return {rollout.to: min(count, math.ceil(count * change.steps[rollout.step])), rollout.before: count}
    return {rollout.to: count, rollout.before: count}


def shares(service: Service, ready: Mapping[int, int]) -> dict[int, float]:
    """The part of the requests (0 to 1) of each version; `ready` counts the replicas that take requests by version.

    A version without a ready replica gets none as long as another one has some: nobody waits for it.
    """
    rollout = service.rollout
    if rollout is None:
        found = {service.newest.number: 1.0}
    else:
        part = part_of_new(service, rollout, ready)
        found = {rollout.before: 1.0 - part, rollout.to: part}
    able = {number: share for number, share in found.items() if ready.get(number) and share > 0}
    if not able:
        others = {number: 1.0 for number, count in ready.items() if count}
        return dict.fromkeys(found, 0.0) | others if others else found
    total = sum(able.values())
    return {number: able.get(number, 0.0) / total for number in found}


def part_of_new(service: Service, rollout: Rollout, ready: Mapping[int, int]) -> float:
    """What the new version should get, if it has replicas for it."""
    change = service.newest.serving.change
    if rollout.backwards:
        return 0.0
    if change.strategy is Strategy.ROLLING:
        new, old = ready.get(rollout.to, 0), ready.get(rollout.before, 0)
        return new / max(1, new + old)
    if change.strategy is Strategy.CANARY:
        # No more of the requests than of the replicas: its last step is the share of all, before all are there.
        share = change.steps[rollout.step] if rollout.step < len(change.steps) else 1.0
        return min(share, ready.get(rollout.to, 0) / max(1, service.replicas))
    return 1.0 if rollout.step else 0.0


def shadow(service: Service) -> float:
    """The part of the requests (0 to 1) of which a new version gets copies as long as it gets none itself."""
    rollout = service.rollout
    if rollout is None or rollout.backwards:
        return 0.0
    return service.newest.serving.change.shadow
