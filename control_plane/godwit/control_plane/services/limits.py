"""Whether a job can keep to its deadline and its budget, as it stands when it is submitted."""

from collections.abc import Iterator
from dataclasses import replace

from godwit.control_plane.store import run_times
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.jobs import Job
from godwit.scheduler import feasibility, placement
from godwit.scheduler import fleet as fleets
from godwit.scheduler.feasibility import Answer, Estimate, Range, Verdict, Way
from godwit.scheduler.plan import Plan, StartAttempt
from godwit.scheduler.snapshot import Snapshot
from sqlalchemy import Connection

FREE_S = Range(0.0, 15.0, 120.0)
"""Until a program runs on nodes that are free: Ray's start, and a set-up step that installs something; a choice."""


def has_any(job: Job) -> bool:
    """Whether there is anything to keep to."""
    return job.spec.deadline_at is not None or job.spec.budget_usd is not None


def with_past(conn: Connection, snapshot: Snapshot, job: Job) -> Snapshot:
    """The snapshot with what is known of earlier jobs of this one's name."""
    return replace(snapshot, pasts={**snapshot.pasts, **run_times.pasts(conn, [job])})


def answer(snapshot: Snapshot, job: Job, plan: Plan, now: float) -> Answer | None:
    """Whether and how `job` keeps to its limits; None when it has none. `plan` is what it would get now."""
    if not has_any(job):
        return None
    demand, guess = fleets.demand_of(job, snapshot, now), snapshot.estimate(job, now)
    run_s = None if guess is None else Range.around(guess.left_s)
    estimate = None if run_s is None else Estimate(run_s, demand.nodes_min)
    resources = job.spec.resources
    offers = [o for o in snapshot.offers if placement.offer_refusal(resources, o, o.key) is None]
    ways = [
        *_on_the_fleet(plan, snapshot),
        *feasibility.ways_to_buy(demand, offers, estimate, records=snapshot.records),
    ]
    return feasibility.answer(ways, run_s, job.spec.deadline_at, job.spec.budget_usd, now)


def refuse(found: Answer | None) -> None:
    """Raise `InvalidRequest` when there is no way to keep to the limits."""
    if found is not None and found.verdict is Verdict.NO:
        path = "deadline" if found.cheapest_in_time is None and found.deadline_at is not None else "budget_usd"
        raise InvalidRequest(problems=[Problem((path,), feasibility.words(found))])


def _on_the_fleet(plan: Plan, snapshot: Snapshot) -> Iterator[Way]:
    for action in plan.actions:
        if isinstance(action, StartAttempt):
            offers = [snapshot.node_by_id[slot.node_id].offer for slot in action.slots]
            price = sum(offer.price_usd_per_hour for offer in offers)
            yield Way("nodes of the fleet", len(offers), price, FREE_S, is_billed_while_starting=False)
