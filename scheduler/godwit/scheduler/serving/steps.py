"""What comes next for one service: what is so of its replicas, what it should be, and who comes and goes for that.

Everything is decided from the view alone, and deciding again after half of it was carried out gives the other half.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import inf

from godwit.domain import lifecycle
from godwit.domain.jobs import AttemptState, JobState
from godwit.domain.resources import Infra, parse_infra
from godwit.domain.services import Replica, ReplicaState, ServiceState
from godwit.scheduler.serving import autoscale, counts, hedge, restarts, rollout
from godwit.scheduler.serving.actions import (
    AddReplica,
    ChangeService,
    LeaveNode,
    MoveReplica,
    ServingAction,
    StopReplica,
)
from godwit.scheduler.serving.view import View

ALIVE = (ReplicaState.STARTING, ReplicaState.READY)

ADDED_MAX = 50
"""Replicas that are added in one step: what one transaction writes in milliseconds; the next step adds the rest."""


def decide(view: View, now: float) -> list[ServingAction]:
    """What to do now, in this order; nothing when it is as it should be, or has to wait."""
    facts = list(_facts(view))
    if facts:
        return facts  # the next look decides on what is so
    change = _change(view, now)
    if change is not None:
        return [change]
    if view.service.state is ServiceState.DELETING:
        going = [one for one in view.replicas if one.state in ALIVE]
        return [*_leaving(going, view, "its service is removed"), *_stopping(view, now)]
    return [*_missing(view, now), *_surplus(view, now), *_stopping(view, now)]


def wake_at(view: View, now: float) -> float | None:
    """When time alone may change what is decided; None where only news can."""
    found = [restarts.next_at(view.gone, version.number) for version in view.service.versions]
    found += [one.state_since + _drain_s(view, one) for one in view.replicas if one.state is ReplicaState.DRAINING]
    found += [_last_call(view, one) for one in view.replicas if one.state is ReplicaState.READY]
    if view.service.newest.serving.spare is not None:
        found += hedge.settles_at(view)
    if view.service.rollout is not None or view.service.newest.serving.autoscale is not None:
        found.append(now + 1.0)
    return min((at for at in found if at > now), default=None)


def _facts(view: View) -> Iterator[ServingAction]:
    for replica in view.replicas:
        job, attempt = view.jobs.get(replica.job_id), view.attempts.get(replica.job_id)
        if job is None or lifecycle.is_final(job.state):
            why = "its job is not there" if job is None else f"its job {job.state}: {job.detail}"
            yield MoveReplica(replica.id, ReplicaState.GONE, why)
        elif replica.state is ReplicaState.READY and not (
            job.state is JobState.RUNNING
            and attempt is not None
            and attempt.id == replica.attempt_id
            and attempt.state is AttemptState.RUNNING
        ):
            yield MoveReplica(replica.id, ReplicaState.STARTING, f"its job is {job.state}")
        elif replica.id in view.leaving and replica.state in ALIVE and replica.moves_to is None:
            yield LeaveNode(replica.id, view.leaving[replica.id].why)


def _change(view: View, now: float) -> ChangeService | None:
    service = view.service
    if service.state is ServiceState.DELETING:
        if view.replicas:
            return None
        return ChangeService(service, "its last replica is gone", ServiceState.DELETED)
    count, why = autoscale.decide(
        service.newest.serving, service.replicas, view.samples, view.idle_since, now, view.foreseen
    )
    if count != service.replicas:
        reason = f"{count} replicas instead of {service.replicas}: {why}"
        return ChangeService(replace(service, replicas=count, scaled_at=now), reason)
    return rollout.step(view, now)


def _missing(view: View, now: float) -> Iterator[AddReplica]:
    """Replicas that there should be, one for each that moves besides, unless those before ended too soon."""
    service, left = view.service, ADDED_MAX
    for number, count in sorted(counts.wanted(view).items()):
        there = [one for one in view.of(number, *ALIVE) if one.moves_to is None]
        if restarts.next_at(view.gone, number) > now:
            continue
        spare = _spare(view, number)
        if spare is not None:
            yield from hedge.missing(view, number, count, spare, now)[:left]
            continue
        moving = [one for one in view.of(number, *ALIVE) if one.moves_to is not None]
        for index in range(min(left, count - len(there))):
            to = _place(moving[index].moves_to) if index < len(moving) else None
            reason = f"{len(there) + index} of {count} replicas of version {number} are there"
            yield AddReplica(service.id, number, reason if to is None else f"{moving[index].name} moves to {to}", to)
            left -= 1


def _spare(view: View, number: int) -> int | None:
    """How many spot replicas more than wanted a version has; None: the planner chooses between spot and on demand."""
    version = view.service.of_number(number)
    return None if version is None else version.serving.spare


def _place(text: str | None) -> Infra | None:
    return parse_infra(text) if text else None


def _surplus(view: View, now: float) -> list[ServingAction]:
    """Replicas that there should not be: those that take no requests at once, others while enough stay that do.

    Who has to leave its node by a time drains so long before that requests can end, whoever is left: but for the last
    one, since an answer from there until it is told to stop is better than none.
    """
    wanted = counts.wanted(view)
    going: list[Replica] = []
    for number in sorted({one.number for one in view.replicas}):
        spare = _spare(view, number)
        if spare is not None:
            going += hedge.surplus(view, number, wanted.get(number, 0), spare, now)
            continue
        there = sorted((one for one in view.of(number, *ALIVE) if one.moves_to is None), key=lambda r: _worth(view, r))
        going += there[: max(0, len(there) - wanted.get(number, 0))]
    moving = [one for one in view.replicas if one.moves_to is not None and one.state in ALIVE]
    going += sorted(moving, key=lambda replica: _worth(view, replica))
    takes = [one for one in view.replicas if one.state is ReplicaState.READY]
    unready = [one for one in going if one.state is ReplicaState.STARTING]
    ready = sorted(
        (one for one in going if one.state is ReplicaState.READY), key=lambda one: _last_call(view, one) > now
    )
    due = sum(_last_call(view, one) <= now for one in ready)
    spare = max(len(takes) - view.service.replicas, min(due, len(takes) - 1))
    return _leaving([*unready, *ready[: max(0, spare)]], view)


def _last_call(view: View, replica: Replica) -> float:
    """From when on a replica that has to leave its node should take no more requests; infinite for all others."""
    going = view.leaving.get(replica.id)
    return inf if going is None else going.by - _drain_s(view, replica)


def _worth(view: View, replica: Replica) -> tuple[bool, int, int]:
    """Who goes first: who takes no requests, then who has the fewest, then the youngest."""
    flying = view.in_flight.get(replica.attempt_id, 0) if replica.attempt_id is not None else 0
    return (replica.state is ReplicaState.READY, flying, -replica.ordinal)


def _leaving(going: list[Replica], view: View, why: str = "it is not wanted any more") -> list[ServingAction]:
    return [MoveReplica(one.id, ReplicaState.DRAINING, _why_leaving(view, one) or why) for one in going]


def _why_leaving(view: View, replica: Replica) -> str:
    if replica.id in view.leaving:
        return view.leaving[replica.id].why
    return "" if replica.moves_to is None else f"it moved to {replica.moves_to or 'another place'}"


def _stopping(view: View, now: float) -> Iterator[StopReplica]:
    for replica in view.replicas:
        job = view.jobs.get(replica.job_id)
        if replica.state is not ReplicaState.DRAINING or job is None or job.cancel_requested:
            continue
        drain_s = _drain_s(view, replica)
        attempt = view.attempts.get(replica.job_id)
        runs = attempt is not None and attempt.id == replica.attempt_id and attempt.state is AttemptState.RUNNING
        if replica.attempt_id is None:
            yield StopReplica(replica.id, "it never took a request")
        elif not runs:
            yield StopReplica(replica.id, "it does not run any more, and is not to start again")
        elif replica.attempt_id in view.quiet:
            yield StopReplica(replica.id, "no gateway leads to it any more, and it has nothing in flight")
        elif now - replica.state_since >= drain_s:
            yield StopReplica(replica.id, f"its {drain_s:g} s to drain are over")


def _drain_s(view: View, replica: Replica) -> float:
    version = view.service.of_number(replica.number) or view.service.newest
    return version.serving.drain_s
