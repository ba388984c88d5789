"""A change of versions, step by step: on when the new one does well, back by itself when it does not."""

from dataclasses import replace

from godwit.domain.services import ReplicaState, Rollout, Service
from godwit.domain.serving import Change, Strategy
from godwit.scheduler.serving import counts, restarts
from godwit.scheduler.serving.actions import ChangeService
from godwit.scheduler.serving.view import View

ANSWERS_MIN = 20
"""Requests in the gateways' window before a share of failures says anything: at one of 20, 5 % is one request."""

SLOWER_FELT_S = 0.1
"""What a new version is slower by says nothing below this: nobody feels a tenth of a second (Nielsen, "Usability
Engineering", 1993), and the first answers of a cold process are several times slower than those of a warm one."""

FAILED_STARTS_MAX = 3
"""Replicas of a new version in a row that end before they are ready until it is taken back."""


def step(view: View, now: float) -> ChangeService | None:
    """What comes next in a change of versions that is under way; None while it takes its time."""
    service, rollout = view.service, view.service.rollout
    if rollout is None:
        return None
    if rollout.backwards:
        return _back(view, rollout)
    wrong = _measured(view, rollout, service.newest.serving.change) if rollout.paused else _wrong(view, rollout, now)
    if wrong:
        reason = f"version {rollout.to} is taken back: {wrong}"
        return ChangeService(replace(service, rollout=replace(rollout, backwards=wrong)), reason)
    return None if rollout.paused else _on(view, rollout, service.newest.serving.change, now)


def resumed(rollout: Rollout, now: float) -> Rollout:
    """A change that goes on after a pause: what it was given time for begins anew."""
    return replace(rollout, paused="", began_at=now, step_since=None if rollout.step_since is None else now)


def promoted(rollout: Rollout, change: Change) -> Rollout:
    """A change whose owner is content with the new version: it takes all requests as soon as it has replicas for them.

    A new version that is not ready, or fails, is taken back all the same.
    """
    step = len(change.steps) if change.strategy is Strategy.CANARY else rollout.step
    since = rollout.step_since if step == rollout.step else None
    return replace(rollout, paused="", promoted=True, step=step, step_since=since)


def begun(service: Service, now: float) -> Service:
    """A service whose newest version was just added, on its way there from what it served before.

    A change that was under way is left where it is: what came last but one is what it comes from.
    """
    before = service.rollout.before if service.rollout is not None else service.versions[-2].number
    return replace(service, rollout=Rollout(service.newest.number, before, now))


def _back(view: View, rollout: Rollout) -> ChangeService | None:
    service = view.service
    enough = len(view.ready(rollout.before)) >= service.replicas
    if not enough or view.of(rollout.to, ReplicaState.STARTING, ReplicaState.READY):
        return None
    # The version that counts is the last; numbers are never used twice, so the other one is kept before it.
    versions = sorted(service.versions, key=lambda version: version.number == rollout.before)
    reason = f"version {rollout.before} serves again: {rollout.backwards}"
    return ChangeService(replace(service, versions=tuple(versions), rollout=None), reason)


def _on(view: View, rollout: Rollout, change: Change, now: float) -> ChangeService | None:
    service = view.service
    ready, asked = len(view.ready(rollout.to)), counts.wanted(view)[rollout.to]
    is_there = ready >= asked and (ready >= service.replicas or not _is_last(rollout, change))
    if not is_there:
        return None
    if rollout.step_since is None:
        started = replace(service, rollout=replace(rollout, step_since=now))
        return ChangeService(started, f"{ready} replicas of version {rollout.to} are ready")
    # Without requests nothing shows, and neither without copies of them.
    is_unseen = change.strategy is Strategy.BLUE_GREEN and not rollout.step and not change.shadow
    is_to_bake = bool(service.replicas) and not is_unseen and not rollout.promoted
    if is_to_bake and now - rollout.step_since < change.bake_s:
        return None
    if _is_last(rollout, change):
        return ChangeService(replace(service, rollout=None), f"version {rollout.to} serves alone")
    further = replace(rollout, step=rollout.step + 1, step_since=None)
    part = counts.part_of_new(service, further, {rollout.to: service.replicas})
    reason = f"version {rollout.to} did well and gets {part:.0%} of the requests"
    return ChangeService(replace(service, rollout=further), reason)


def _is_last(rollout: Rollout, change: Change) -> bool:
    """Whether what follows is that it serves alone."""
    last = {Strategy.ROLLING: 0, Strategy.BLUE_GREEN: 1, Strategy.CANARY: len(change.steps)}
    return rollout.step >= last[change.strategy]


def _wrong(view: View, rollout: Rollout, now: float) -> str:
    """Why a new version is not good enough; empty while it is."""
    change = view.service.newest.serving.change
    failed = restarts.failures(view.gone, rollout.to)
    if failed >= FAILED_STARTS_MAX:
        last = next((one.detail for one in view.gone if one.number == rollout.to), "")
        return f"{failed} replicas in a row ended before they were ready ({last})"
    ready, asked = len(view.ready(rollout.to)), counts.wanted(view)[rollout.to]
    newest = max((one.ready_at or 0.0 for one in view.ready(rollout.to)), default=0.0)
    since = max(rollout.began_at, rollout.step_since or 0.0, newest)
    if ready < asked and now - since > change.ready_within_s:
        return f"{ready} of {asked} replicas were ready within {change.ready_within_s:g} s"
    return _measured(view, rollout, change)


def _measured(view: View, rollout: Rollout, change: Change) -> str:
    if view.traffic is None:
        return ""
    new = view.traffic.by_version.get(rollout.to)
    if new is None or new.answered + new.failed < ANSWERS_MIN:
        return ""
    if new.error_rate > change.errors_max:
        return f"{new.error_rate:.1%} of its requests failed, more than {change.errors_max:.1%}"
    old = view.traffic.by_version.get(rollout.before)
    if old is None or old.latency_s is None or new.latency_s is None or old.answered < ANSWERS_MIN:
        return ""
    if new.latency_s > max(change.slower_max * old.latency_s, old.latency_s + SLOWER_FELT_S):
        return f"its middle latency is {new.latency_s:.3g} s, that of version {rollout.before} {old.latency_s:.3g} s"
    return ""
