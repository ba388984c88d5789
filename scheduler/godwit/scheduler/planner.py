"""`plan(snapshot, now, seed) -> Plan`: the one place where godwit decides anything. Pure.

The stages run in the order in which they may contradict each other: first what is known to be lost or over, and only
when that is settled, who gets what. A plan whose first stages found something says no more; the shell writes it down
and asks again, so that every stage sees a snapshot without unfinished business.
"""

from dataclasses import replace

from godwit.domain.ids import JobId
from godwit.domain.jobs import Job, JobState
from godwit.domain.resources import Infra
from godwit.scheduler import dependencies, giving_way, projects, release, repair, replacing, restarts, warm
from godwit.scheduler import fleet as fleets
from godwit.scheduler.counter import Counter
from godwit.scheduler.engine import Engine
from godwit.scheduler.health import attribution
from godwit.scheduler.health import decide as health
from godwit.scheduler.migration import steps as migration
from godwit.scheduler.migration import targets, wishes
from godwit.scheduler.migration.targets import Target
from godwit.scheduler.outlook import Outlook
from godwit.scheduler.plan import Action, AskToLeave, BuyNode, Plan, Preempt, ReserveNode, StartAttempt, TerminateNode
from godwit.scheduler.reasons import Code, Refusal
from godwit.scheduler.resizing import steps as resizing
from godwit.scheduler.snapshot import Snapshot
from godwit.scheduler.spot import leaving, rulings


def plan(snapshot: Snapshot, now: float, seed: int) -> Plan:
    """Decide what to do now. Equal arguments give equal plans, whatever the order of the snapshot's tuples."""
    snapshot = snapshot.in_order()
    settled = _settled(snapshot, now)
    if settled:
        return Plan(tuple(settled), wake_at=now)
    ruled = {**rulings.of(snapshot, now), **leaving.found(snapshot, now)}
    snapshot = rulings.obeyed(snapshot, ruled)
    counter, engine = _serve_queue(snapshot, now, seed)
    refusals = rulings.told(ruled, counter.told()) | _unserved(snapshot, now)
    resizes = resizing.Resizing(snapshot, engine, counter.market, now).actions(somebody_waits=bool(refusals))
    wanted = counter.spoken_for() | frozenset(resizing.wanted_by(resizes))
    # Which idle nodes are spares shows when those that start now hold theirs, or those whose nodes are being tested: a
    # later plan gives back the others.
    starts = any(isinstance(one, StartAttempt) for one in counter.actions) or bool(attribution.under_test(snapshot))
    idle = [one for one in release.idle(snapshot, now) if not (starts and isinstance(one, TerminateNode))]
    actions: list[Action] = [one for one in idle if not isinstance(one, TerminateNode) or one.node_id not in wanted]
    actions += [*counter.actions, *resizes]
    actions += replacing.purchases(snapshot, counter.market, now)
    actions += targets.purchases(snapshot, counter.market, now)
    actions += leaving.wishes(snapshot, ruled, counter.market, now)
    # Last of all: what was just decided changes which nodes are idle, and nobody waits for a warm one, or to be moved.
    actions = actions or list(warm.purchases(snapshot, refusals.values(), now))
    actions = actions or list(wishes.cheaper(snapshot, counter.market, now))
    return Plan(tuple(actions), refusals, _wake_at(snapshot, engine, now))


def _settled(snapshot: Snapshot, now: float) -> list[Action]:
    """What is lost, what is sick, and what is over, in this order: a failure is blamed when its cause is known."""
    lost = list(repair.nodes(snapshot, now))
    sick = [] if lost else list(health.decide(snapshot, now))
    over = [*lost, *repair.attempts(snapshot, now), *repair.jobs(snapshot)]
    return sick or over or list(migration.steps(snapshot, now))


def preview(snapshot: Snapshot, job: Job, now: float, seed: int) -> Plan:
    """What `job` would get, or gets told, if the queue were served now; nothing is settled first. Pure."""
    others = tuple(other for other in snapshot.jobs if other.id != job.id)
    snapshot = replace(snapshot, jobs=(*others, job)).in_order()
    ruled = rulings.of(snapshot, now)
    snapshot = rulings.obeyed(snapshot, ruled)
    counter, _ = _serve_queue(snapshot, now, seed)
    refusals = (rulings.told(ruled, counter.told()) | _unserved(snapshot, now)).get(job.id, ())
    mine = tuple(action for action in counter.actions if _is_for(action, job.id))
    outlook = counter.outlook(job.id, fleets.demand_of(job, snapshot, now)) if refusals else None
    return Plan(mine, {job.id: refusals}, outlooks={} if outlook is None else {job.id: outlook})


def queue(snapshot: Snapshot, now: float, seed: int, outlooks_max: int) -> Plan:
    """Why each job waits that waits, in the order in which they would be served now. Pure; nothing is settled first.

    Jobs that wait for no node come last. The first `outlooks_max` have an outlook in full, the others of those that are
    served only a position. A job that would start now is told nothing.
    """
    snapshot = snapshot.in_order()
    ruled = rulings.of(snapshot, now)
    snapshot = rulings.obeyed(snapshot, ruled)
    counter, _ = _serve_queue(snapshot, now, seed)
    told, outlooks = rulings.told(ruled, counter.told()) | _unserved(snapshot, now), dict[JobId, Outlook]()
    for job_id, position in counter.positions.items():
        known = snapshot.job_by_id.get(job_id)
        found = None
        if known is not None and job_id in told and len(outlooks) < outlooks_max:
            found = counter.outlook(job_id, fleets.demand_of(known, snapshot, now))
        outlooks[job_id] = found or Outlook(position)
    turns = dict.fromkeys([*outlooks, *told])
    return Plan((), {job_id: told.get(job_id, ()) for job_id in turns}, outlooks=outlooks)


def preview_move(snapshot: Snapshot, job_id: JobId, to: Infra | None, now: float, seed: int) -> Target | str:
    """Where a running job would go if it were moved to `to` now (None: anywhere), or why it cannot. Pure."""
    snapshot = snapshot.in_order()
    counter, _ = _serve_queue(snapshot, now, seed)
    attempt = snapshot.attempt_by_job.get(job_id)
    if attempt is None:
        return "it does not run now"
    return targets.find(snapshot, counter.market, snapshot.job_by_id[job_id], attempt, to, now)


def _serve_queue(snapshot: Snapshot, now: float, seed: int) -> tuple[Counter, Engine]:
    """Whoever waits for nodes and for nothing else, each in turn."""
    unserved = _unserved(snapshot, now)
    waiting = {job.id: job for job in snapshot.jobs if repair.waits(job) and job.id not in unserved}
    gate = projects.gate_of(snapshot.projects)
    order, usage = projects.order_of(snapshot, gate, now)
    yielding = giving_way.yielding_of(snapshot.policy.preemption, gate, order)
    engine = fleets.engine_of(snapshot, waiting.values(), now, order=order, gate=usage, yielding=yielding)
    counter = Counter(snapshot, engine, gate, now, seed)
    counter.start_gathered()
    for demand in engine.in_turn(now):
        counter.serve(waiting[JobId(demand.job_id)], demand)
    return counter, engine


def _is_for(action: Action, job_id: JobId) -> bool:
    """Whether it is one of the actions that bring a waiting job forward."""
    if isinstance(action, Preempt | AskToLeave):
        return action.to == job_id
    return isinstance(action, BuyNode | StartAttempt | ReserveNode) and action.job_id == job_id


def _spent(job: Job, snapshot: Snapshot) -> tuple[Refusal, ...]:
    """Why nothing new of it starts; what had begun goes on after a loss."""
    why = snapshot.spent.get(job.id) or snapshot.spent.get(job.project)
    if why is None or job.state is not JobState.QUEUED:
        return ()
    return (Refusal(Code.BUDGET, f"project {job.project}", why, "`godwit budget set`, or wait for the next month"),)


def _lacking(job: Job, snapshot: Snapshot) -> tuple[Refusal, ...]:
    """Which secret it needs was removed after it was submitted."""
    name = snapshot.lacking.get(job.id)
    if name is None:
        return ()
    help_ = f"`godwit secrets set {name.partition('@')[0]} --project {job.project}`"
    if "@" in name:
        help_ = "submit it again with another version"
    return (Refusal(Code.NO_SECRET, f"secret {name}", f"of project {job.project} was removed", help_),)


def _unserved(snapshot: Snapshot, now: float) -> dict[JobId, tuple[Refusal, ...]]:
    """Waiting jobs that no node would help: they may still run somewhere, or others must come first."""
    told: dict[JobId, tuple[Refusal, ...]] = {}
    tested = attribution.under_test(snapshot)
    for job in snapshot.jobs:
        attempt = snapshot.attempt_by_job.get(job.id)
        why = dependencies.why_waiting(job, snapshot.standings(job)) if attempt is None else (_fencing(attempt.id),)
        if not why and job.id in tested:
            why = (Refusal(Code.UNFIT, "its nodes", "are tested before it goes on", "wait: `godwit incidents`"),)
        why = why or _spent(job, snapshot) or _lacking(job, snapshot) or restarts.why_waiting(job, snapshot, now)
        if why and repair.waits(job):
            told[job.id] = why
    return told


def _fencing(attempt_id: str) -> Refusal:
    return Refusal(
        Code.FENCING, f"attempt {attempt_id}", "may still run somewhere", "wait until its nodes stop or its lease ends"
    )


def _wake_at(snapshot: Snapshot, engine: Engine, now: float) -> float | None:
    instants = [
        *([] if engine.wake_at is None else [engine.wake_at]),
        *repair.next_deadlines(snapshot, now),
        *health.next_deadlines(snapshot, now),
        *release.next_deadlines(snapshot, now),
        *migration.next_deadlines(snapshot),
        *resizing.next_deadlines(snapshot),
        *restarts.next_deadlines(snapshot),
        *(hold.until for hold in snapshot.holds),
        *(job.created_at + snapshot.policy.patience.patience_s for job in snapshot.jobs if repair.waits(job)),
    ]
    return min((at for at in instants if at > now), default=None)
