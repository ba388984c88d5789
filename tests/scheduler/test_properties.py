"""What holds for every fleet and every queue."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

from godwit.domain.ids import JobId
from godwit.domain.jobs import Fabric, JobState
from godwit.domain.nodes import NodeState
from godwit.scheduler import planner
from godwit.scheduler.plan import BuyNode, StartAttempt
from godwit.scheduler.snapshot import Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

sizes = st.sampled_from([1, 2, 4, 8])
fabrics = st.sampled_from(["f1", "f2", None])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Fleets of up to six nodes in up to three fabric domains, some busy, with up to six jobs and four offers."""
    sold = [
        offer(
            f"t{i}",
            provider=draw(st.sampled_from(["p", "q"])),
            gpu_count=draw(sizes),
            price=draw(st.integers(1, 50)),
            fabric_domain=draw(fabrics),
            capacity=draw(st.sampled_from([None, 0, 1, 3])),
        )
        for i in range(draw(st.integers(0, 4)))
    ]
    states = st.sampled_from([NodeState.READY] * 4 + [NodeState.CORDONED, NodeState.JOINING])
    fleet = [
        node(f"n{i}", offer(gpu_count=draw(sizes), fabric_domain=draw(fabrics)), draw(states))
        for i in range(draw(st.integers(0, 6)))
    ]
    running, attempts = [], []
    for i, host in enumerate(fleet):
        if host.state is NodeState.READY and draw(st.booleans()):
            holder = job(f"r{i}", gpus=draw(st.integers(1, len(host.gpus))), state=JobState.RUNNING, epoch=1)
            running.append(holder)
            attempts.append(attempt(holder, host, port=20_000 + 4 * i))
    queue = [
        job(f"j{i}", gpus=draw(st.sampled_from([0, 1, 2, 4, 8])), nodes_min=(low := draw(st.integers(1, 3))),
            nodes_max=low + draw(st.integers(0, 1)), priority=draw(st.sampled_from([-100, 0, 100])),
            fabric=draw(st.sampled_from(Fabric)))
        for i in range(draw(st.integers(0, 6)))
    ]  # fmt: skip
    return world(jobs=running + queue, nodes=fleet, attempts=attempts, offers=sold)


@given(snapshots())
def test_no_gpu_is_given_twice_and_none_that_is_not_there(snapshot: Snapshot) -> None:
    held = Counter((s.node_id, gpu) for a in snapshot.attempts for s in a.slots for gpu in s.gpus)
    for action in planner.plan(snapshot, NOW, 1).actions:
        if isinstance(action, StartAttempt):
            held.update((slot.node_id, gpu) for slot in action.slots for gpu in slot.gpus)
            for slot in action.slots:
                assert set(slot.gpus) <= {gpu.index for gpu in snapshot.node_by_id[slot.node_id].gpus}
    assert all(count == 1 for count in held.values())


@given(snapshots())
def test_a_gang_is_whole_of_one_model_and_in_one_domain_unless_any_will_do(snapshot: Snapshot) -> None:
    for action in planner.plan(snapshot, NOW, 1).actions:
        if not isinstance(action, StartAttempt):
            continue
        wanted = snapshot.job_by_id[action.job_id].spec.resources
        hosts = [snapshot.node_by_id[slot.node_id] for slot in action.slots]
        assert wanted.nodes_min <= len(hosts) <= wanted.nodes_max
        assert len({host.id for host in hosts}) == len(hosts)
        assert all(len(slot.gpus) == wanted.gpus.count for slot in action.slots)
        domains = {(h.offer.provider, h.offer.region, h.offer.fabric_domain or h.id) for h in hosts}
        assert wanted.fabric is Fabric.ANY or len(domains) == 1


@given(snapshots(), st.integers(0, 3))
def test_equal_snapshots_give_equal_plans_whatever_their_order(snapshot: Snapshot, seed: int) -> None:
    shuffled: dict[str, Any] = {}
    rng = random.Random(seed)
    for name in ("jobs", "nodes", "attempts", "offers"):
        items = list(getattr(snapshot, name))
        rng.shuffle(items)
        shuffled[name] = tuple(items)
    assert planner.plan(replace(snapshot, **shuffled), NOW, seed) == planner.plan(snapshot, NOW, seed)


@given(snapshots())
def test_capacity_that_is_known_is_never_exceeded(snapshot: Snapshot) -> None:
    bought = Counter(a.offer.key for a in planner.plan(snapshot, NOW, 1).actions if isinstance(a, BuyNode))
    for sold in snapshot.offers:
        assert sold.capacity is None or bought[sold.key] <= sold.capacity


@given(snapshots())
def test_each_waiting_job_either_starts_or_has_reasons(snapshot: Snapshot) -> None:
    made = planner.plan(snapshot, NOW, 1)
    started = {a.job_id for a in made.actions if isinstance(a, StartAttempt)}
    for waiting in snapshot.jobs:
        if waiting.state is JobState.QUEUED:
            assert (waiting.id in started) != bool(made.refusals.get(JobId(waiting.id)))
