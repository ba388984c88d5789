"""What a snapshot should never hold, and may: the planner refuses it with a reason or lives with it."""

from dataclasses import replace
from math import inf, nan

import pytest
from godwit.domain import lifecycle
from godwit.domain.jobs import Fabric, Job, JobState
from godwit.domain.nodes import NodeState
from godwit.domain.resources import GpuAsk
from godwit.scheduler import planner
from godwit.scheduler.plan import BuyNode, StartAttempt
from godwit.scheduler.reasons import Code
from godwit.scheduler.snapshot import Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

LIVE_NODES = [state for state in NodeState if state in lifecycle.DEADLINES]
LIVE_JOBS = [state for state in JobState if state in lifecycle.DEADLINES]
ODD = st.sampled_from([nan, inf, -inf, -1.0, 0.0, 1e308, 5.0])
INSTANTS = st.sampled_from([-inf, 0.0, NOW - 1e9, NOW, NOW + 1e9, inf])


@pytest.mark.parametrize("price", [nan, inf, -inf, -0.01])
def test_an_offer_without_a_usable_price_is_refused_and_the_next_is_bought(price: float) -> None:
    odd, sound = offer("odd", price=price), offer("sound", price=99.0)
    made = planner.plan(world(jobs=[job("a")], offers=[odd, sound]), NOW, 1)
    assert [a.offer.key for a in made.actions if isinstance(a, BuyNode)] == [sound.key]
    made = planner.plan(world(jobs=[job("a")], offers=[odd]), NOW, 1)
    assert {(r.code, r.subject) for r in made.refusals["a"]} == {(Code.NO_PRICE, odd.key)}  # type: ignore[index]


def test_a_gang_of_a_hundred_thousand_is_refused_and_buys_nothing() -> None:
    made = planner.plan(world(jobs=[job("a", nodes=100_000)], nodes=[node("n1")], offers=[offer()]), NOW, 1)
    assert made.actions == ()
    assert Code.TOO_MANY_NODES in {r.code for r in made.refusals["a"]}  # type: ignore[index]


def test_a_node_without_gpus_serves_who_needs_none() -> None:
    bare = node("n1", offer("cpu", gpu_count=0, gpu_model=None))
    made = planner.plan(world(jobs=[job("a", gpus=0), job("b")], nodes=[bare]), NOW, 1)
    assert [a.job_id for a in made.actions if isinstance(a, StartAttempt)] == ["a"]
    assert Code.WRONG_GPU in {r.code for r in made.refusals["b"]}  # type: ignore[index]


def test_an_attempt_on_a_node_and_of_a_job_that_are_not_there_is_lived_with() -> None:
    gone = attempt(job("gone", state=JobState.RUNNING), node("nowhere"))
    planner.plan(world(attempts=[gone], jobs=[job("a")], nodes=[node("n1")]), NOW, 1)


@st.composite
def odd_snapshots(draw: st.DrawFn) -> Snapshot:
    """Prices, clocks, sizes and counts as no provider and no database should give them."""
    sold = [
        offer(f"t{i}", price=draw(ODD), gpu_count=draw(st.sampled_from([0, 1, 8, 16])),
              cpus=draw(st.sampled_from([0, 200])), memory_gib=draw(st.sampled_from([0.0, 1800.0])),
              capacity=draw(st.sampled_from([None, -1, 0, 1])), fabric_domain=draw(st.sampled_from([None, "", "f"])),
              seen_at=draw(INSTANTS), billing_step_s=draw(st.sampled_from([0.0, 1.0, 3600.0])))
        for i in range(draw(st.integers(0, 4)))
    ]  # fmt: skip
    kinds = sold or [offer()]
    fleet = [
        node(f"n{i}", draw(st.sampled_from(kinds)), draw(st.sampled_from(LIVE_NODES)), created_at=draw(INSTANTS),
             state_since=draw(INSTANTS), idle_since=draw(st.none() | INSTANTS), last_seen_at=draw(st.none() | INSTANTS),
             reserved_for=draw(st.sampled_from([None, "j0", "nobody"])), cpus=draw(st.sampled_from([0, 200])))
        for i in range(draw(st.integers(0, 4)))
    ]  # fmt: skip
    queue: list[Job] = [
        job(f"j{i}", gpus=draw(st.sampled_from([0, 1, 8, 16])), nodes_min=(low := draw(st.sampled_from([1, 2, 5000]))),
            nodes_max=low + draw(st.integers(0, 2)), priority=draw(st.sampled_from([-(10**9), 0, 10**9])),
            created_at=draw(INSTANTS), cpus=draw(st.sampled_from([0, 10**6])), fabric=draw(st.sampled_from(Fabric)),
            state=draw(st.sampled_from(LIVE_JOBS)))
        for i in range(draw(st.integers(0, 5)))
    ]  # fmt: skip
    held = [
        attempt(draw(st.sampled_from(queue)), draw(st.sampled_from(fleet)), created_at=draw(INSTANTS))
        for _ in range(draw(st.integers(0, 1)) if queue and fleet else 0)
    ]
    return world(jobs=queue, nodes=fleet, offers=sold, attempts=held, serving_since=draw(INSTANTS))


@given(odd_snapshots(), st.sampled_from([0.0, NOW - 1e6, NOW, NOW + 1e6]))
def test_no_snapshot_makes_it_crash_or_give_a_gpu_twice(snapshot: Snapshot, now: float) -> None:
    made = planner.plan(snapshot, now, 1)
    given_out = [
        (s.node_id, gpu) for a in made.actions if isinstance(a, StartAttempt) for s in a.slots for gpu in s.gpus
    ]
    assert len(set(given_out)) == len(given_out)
    assert all(0 <= a.offer.price_usd_per_hour < inf for a in made.actions if isinstance(a, BuyNode))


FIXES = {
    Code.TOO_FEW_GPUS: lambda one: _asking(one, gpus=GpuAsk(1, ("H100",))),
    Code.WRONG_GPU: lambda one: _asking(one, gpus=GpuAsk(1)),
    Code.NO_FABRIC: lambda one: _asking(one, fabric=Fabric.ANY),
    Code.TOO_SMALL: lambda one: _asking(one, cpus=0),
}


def _asking(one: Job, **fields: object) -> Job:
    resources = replace(one.spec.resources, **fields)  # type: ignore[arg-type]
    return replace(one, spec=replace(one.spec, resources=resources))


@pytest.mark.parametrize(
    ("asked", "sold"),
    [
        (job("a", gpus=16), offer()),
        (job("a", gpus=1), offer(gpu_model="A100-80GB-SXM")),
        (job("a", nodes=2), offer(fabric_domain=None)),
        (job("a", cpus=10_000), offer()),
    ],
)
def test_a_job_that_takes_the_advice_of_its_refusal_is_bought_for(asked: Job, sold: object) -> None:
    made = planner.plan(world(jobs=[asked], offers=[sold]), NOW, 1)
    (refusal,) = made.refusals[asked.id]
    assert made.actions == ()
    mended = FIXES[refusal.code](asked)
    assert any(isinstance(a, BuyNode) for a in planner.plan(world(jobs=[mended], offers=[sold]), NOW, 1).actions)
