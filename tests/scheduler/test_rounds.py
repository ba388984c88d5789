"""Plans that are carried out lead to rest, to no double use, to no endless purchases, and at last everybody runs."""

from dataclasses import replace

from godwit.domain.jobs import AttemptState, Fabric, Job, JobState
from godwit.domain.nodes import Health, NodeState
from godwit.domain.resources import GpuAsk
from godwit.scheduler.plan import ReserveNode
from godwit.scheduler.snapshot import Snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, job, node, offer, world
from tests.scheduler.rounds import Rounds

SMALL = offer("small", gpu_count=4, price=10.0, fabric_domain="f1")
LARGE = offer("large", gpu_count=8, price=30.0, fabric_domain="f2")
SHARES = [GpuAsk(1, ("H100",), milli=milli) for milli in (300, 500, 700)]
WHOLE = [GpuAsk(count, ("H100",) if count else ()) for count in (0, 1, 2, 4, 8)]


@st.composite
def queued(draw: st.DrawFn, name: str) -> Job:
    gpus = draw(st.sampled_from([*WHOLE, *SHARES]))
    is_share = gpus.milli < 1000
    low = 1 if is_share else draw(st.integers(1, 3))
    high = low if is_share else low + draw(st.integers(0, 1))
    one = job(
        name, nodes_min=low, nodes_max=high, fabric=draw(st.sampled_from(Fabric)),
        priority=draw(st.sampled_from([-100, 0, 100])), created_at=NOW - draw(st.sampled_from([1, 50, 2000])),
    )  # fmt: skip
    resources = replace(one.spec.resources, gpus=gpus)
    run_time_s = draw(st.sampled_from([None, 300.0, 3600.0]))
    return replace(one, spec=replace(one.spec, resources=resources, run_time_s=run_time_s))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Up to five jobs, up to three idle nodes, and two offers of which some can be had."""
    capacity = st.sampled_from([None, 0, 1, 3])
    offers = [replace(each, capacity=draw(capacity)) for each in (SMALL, LARGE)]
    unused_s = st.sampled_from([1, 900])
    nodes = [
        node(f"n{i}", draw(st.sampled_from([SMALL, LARGE])), idle_since=NOW - draw(unused_s))
        for i in range(draw(st.integers(0, 3)))
    ]
    return world(jobs=[draw(queued(f"j{i}")) for i in range(draw(st.integers(1, 5)))], nodes=nodes, offers=offers)


@settings(max_examples=50, deadline=None)
@given(snapshots(), st.lists(st.sampled_from(["boot", "end", "minute", "while"]), max_size=20))
def test_the_planner_rests_and_buys_no_more_than_a_gang(snapshot: Snapshot, steps: list[str]) -> None:
    one = Rounds(snapshot, NOW)
    most = {str(waiting.id): waiting.spec.resources.nodes_min for waiting in snapshot.jobs}
    for step in steps:
        one.rest()
        if step == "end" and one.snapshot.attempts:
            one.end(one.snapshot.attempts[0].job_id)
        elif step in {"boot", "while"}:
            one.boot()
            one.rest()
        one.pass_s({"minute": 60.0, "while": 700.0}.get(step, 1.0))
        one.boot()
        for job_id, count in one.bought_since.items():
            assert count <= most[job_id], "\n".join(one.log)


@settings(max_examples=50, deadline=None)
@given(snapshots(), st.lists(st.booleans(), max_size=12))
def test_whoever_could_run_alone_runs_at_last_whatever_launches_fail(snapshot: Snapshot, fails: list[bool]) -> None:
    one = Rounds(snapshot, NOW)
    one.rest()
    coming = [each.id for each in one.snapshot.nodes if each.state is NodeState.REQUESTED]
    for node_id, is_refused in zip(coming, fails, strict=False):
        if is_refused:
            one.fail(node_id)
    can_run = {waiting.id for waiting in one.snapshot.jobs if _runs_alone(one.snapshot, waiting)}
    for _ in range(8):
        one.rest()
        one.boot()
        one.rest()
        for attempt in one.snapshot.attempts:
            if attempt.state is AttemptState.RUNNING:
                one.end(attempt.job_id)
        one.rest()
        one.pass_s(1_000.0)
    assert not can_run & {waiting.id for waiting in one.snapshot.jobs}, "\n".join(one.log)


def _runs_alone(snapshot: Snapshot, mine: Job) -> bool:
    """Whether it would start if all machines that can be had were for sale, and nobody else were there."""
    there = [each.offer.key for each in snapshot.nodes]
    offers = [
        each if each.capacity is None else replace(each, capacity=each.capacity + there.count(each.key))
        for each in snapshot.offers
    ]
    one = Rounds(world(jobs=[replace(mine, state=JobState.QUEUED)], offers=offers), NOW)
    one.rest()
    one.boot()
    one.rest()
    return one.started[mine.id] > 0


def test_two_gangs_of_which_each_has_a_part_do_not_wait_for_each_other() -> None:
    halves = [node("n1", SMALL, reserved_for="a"), node("n2", SMALL, reserved_for="b")]
    one = Rounds(world(jobs=[job("a", gpus=4, nodes=2), job("b", gpus=4, nodes=2)], nodes=halves), NOW)
    one.rest()
    assert not one.started
    one.pass_s(one.snapshot.policy.idle_after_s)
    one.rest()
    assert one.started == {"a": 1}
    one.end("a")
    one.rest()
    assert one.started == {"a": 1, "b": 1}


def test_a_node_that_came_for_a_job_and_will_not_do_is_for_others_after_the_idle_time() -> None:
    came = node("n1", reserved_for="a", idle_since=NOW)
    sick = replace(came, gpus=(replace(came.gpus[0], health=Health.FAULTY), *came.gpus[1:]))
    one = Rounds(world(jobs=[job("a"), job("b", gpus=7)], nodes=[sick]), NOW)
    one.rest()
    assert not one.started
    one.pass_s(one.snapshot.policy.idle_after_s)
    (action, *_) = one.plan().actions
    assert action == ReserveNode(
        came.id, None, "the rest of what job a needs cannot be had, and this was kept 300 s for it"
    )
    one.rest()
    assert one.started == {"b": 1}


def test_what_a_node_has_left_beside_its_owner_is_not_bought_once_more_when_it_is_ready() -> None:
    """Although the one that waits for the rest is more urgent than the owner, and so is served before it."""
    one = Rounds(world(jobs=[job("owner", gpus=4)], offers=[LARGE]), NOW)
    one.rest()
    one.snapshot = replace(one.snapshot, jobs=(*one.snapshot.jobs, job("urgent", gpus=2, priority=100)))
    one.rest()
    one.boot()
    one.rest()
    assert (one.started, one.bought) == ({"owner": 1, "urgent": 1}, {"owner": 1})
