"""What holds for the bounds of every fleet, however they are set."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, combinations

from godwit.domain.jobs import JobState, Resources
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk
from godwit.scheduler import planner, release, warm
from godwit.scheduler.bounds import Bounds, Warm
from godwit.scheduler.placement import offer_refusal
from godwit.scheduler.plan import BuyNode, ReserveNode, StartAttempt, TerminateNode
from godwit.scheduler.snapshot import Policy, Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

HOUR_S = 3_600.0
LEFT = frozenset({NodeState.TERMINATING, NodeState.LOST})

asks = st.builds(
    Warm,
    st.builds(Resources, gpus=st.builds(GpuAsk, st.sampled_from([1, 4, 8]), st.sampled_from([(), ("H100",)]))),
    st.integers(1, 3),
)
bounds = st.builds(
    Bounds,
    min_nodes=st.integers(0, 4),
    max_nodes=st.none() | st.integers(0, 8),
    max_usd_per_hour=st.none() | st.integers(0, 200).map(float),
    warm=st.lists(asks, max_size=3).map(tuple),
)
sold = st.builds(
    lambda number, gpus, price, step_s, provider: offer(
        f"t{number}", gpu_count=gpus, price=float(price), billing_step_s=step_s, provider=provider
    ),
    st.integers(0, 5),
    st.sampled_from([1, 4, 8]),
    st.integers(0, 50),
    st.sampled_from([1.0, 60.0, HOUR_S]),
    st.sampled_from(["p", "q"]),
)


@st.composite
def nodes(draw: st.DrawFn) -> list[Node]:
    """Up to six nodes in any state in which nothing is left to settle, some of them idle for long."""
    states = st.sampled_from(
        [NodeState.READY] * 6 + [NodeState.CORDONED, NodeState.PROVISIONING, NodeState.LOST, NodeState.TERMINATING]
    )
    fleet = []
    for number in range(draw(st.integers(0, 6))):
        state = draw(states)
        idle_since = draw(st.none() | st.floats(NOW - 900, NOW)) if state is NodeState.READY else None
        held = draw(st.sampled_from([None, None, "j0", "gone"]))
        made = node(
            f"n{number}", draw(sold), state, created_at=NOW - draw(st.floats(900, 10_000)), state_since=NOW,
            idle_since=idle_since, reserved_for=held,
        )  # fmt: skip
        fleet.append(made if state is not NodeState.PROVISIONING else replace(made, gpus=()))
    return fleet


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """A bounded fleet with a market, a queue, and attempts on some of its nodes."""
    fleet = draw(nodes())
    queue = [job(f"j{i}", gpus=draw(st.sampled_from([1, 4, 8])), nodes=draw(st.integers(1, 3))) for i in range(2)]
    queue = queue[: draw(st.integers(0, 2))]
    running = [job(f"r-{host.id}", gpus=1, state=JobState.RUNNING) for host in fleet if host.state is NodeState.READY]
    running = [holder for holder in running if draw(st.booleans())]
    by_id = {host.id: host for host in fleet}
    attempts = [attempt(r, next(n for i, n in by_id.items() if r.id == f"r-{i}")) for r in running]
    return world(
        jobs=queue + running, nodes=fleet, attempts=attempts, policy=Policy(bounds=draw(bounds)),
        offers=draw(st.lists(sold, max_size=4, unique_by=lambda o: o.key)),
    )  # fmt: skip


def carried_out(snapshot: Snapshot, actions: Sequence[object], serial: str) -> Snapshot:
    """The snapshot after these actions, with bought nodes ready at once."""
    fleet, running, attempts = dict(snapshot.node_by_id), list(snapshot.jobs), list(snapshot.attempts)
    for number, action in enumerate(actions):
        if isinstance(action, TerminateNode):
            del fleet[action.node_id]
        elif isinstance(action, BuyNode):
            new = node(f"b-{serial}-{number}", action.offer, created_at=NOW, reserved_for=action.job_id, idle_since=NOW)
            fleet[new.id] = new
        elif isinstance(action, ReserveNode):
            fleet[action.node_id] = replace(fleet[action.node_id], reserved_for=action.job_id)
        elif isinstance(action, StartAttempt):
            hosts = [fleet[slot.node_id] for slot in action.slots]
            fleet |= {host.id: replace(host, reserved_for=None, idle_since=None) for host in hosts}
            started = replace(snapshot.job_by_id[action.job_id], state=JobState.RUNNING, epoch=1)
            running = [started if j.id == started.id else j for j in running]
            attempts.append(attempt(started, *hosts, port=action.port, slots=action.slots))
    return replace(snapshot, nodes=tuple(fleet.values()), jobs=tuple(running), attempts=tuple(attempts))


@given(snapshots())
def test_what_is_bought_never_exceeds_the_maximum(snapshot: Snapshot) -> None:
    most = snapshot.policy.bounds
    buys = [action.offer for action in planner.plan(snapshot, NOW, 1).actions if isinstance(action, BuyNode)]
    cost = sum(n.offer.price_usd_per_hour for n in snapshot.nodes) + sum(o.price_usd_per_hour for o in buys)
    if buys and most.max_nodes is not None:
        assert len(snapshot.nodes) + len(buys) <= most.max_nodes
    if any(o.price_usd_per_hour > 0 for o in buys) and most.max_usd_per_hour is not None:
        assert cost <= most.max_usd_per_hour + 0.01


@given(snapshots())
def test_a_fleet_driven_until_it_rests_stays_within_its_maximum(snapshot: Snapshot) -> None:
    most = snapshot.policy.bounds.max_nodes
    before = len(snapshot.nodes)
    for number in range(40):
        made = planner.plan(snapshot, NOW, 1)
        if not made.actions:
            break
        snapshot = carried_out(snapshot, made.actions, str(number))
        assert most is None or len(snapshot.nodes) <= max(most, before)
    else:
        raise AssertionError("the planner does not come to rest")


@given(snapshots())
def test_no_release_goes_below_the_least_number_nor_takes_what_is_kept_warm(snapshot: Snapshot) -> None:
    gone = {action.node_id for action in planner.plan(snapshot, NOW, 1).actions if isinstance(action, TerminateNode)}
    present = [n for n in snapshot.nodes if n.state in release.PRESENT]
    if gone:
        assert len(present) - len(gone) >= snapshot.policy.bounds.min_nodes
    assert not gone & warm.kept(snapshot).keys()
    left = replace(snapshot, nodes=tuple(n for n in snapshot.nodes if n.id not in gone))
    assert len(warm.kept(left)) == len(warm.kept(snapshot))


@given(snapshots())
def test_a_busy_or_reserved_node_is_never_released(snapshot: Snapshot) -> None:
    used = {slot.node_id for held in snapshot.attempts for slot in held.slots}
    reserved = {n.id for n in snapshot.nodes if n.reserved_for is not None}
    for action in planner.plan(snapshot, NOW, 1).actions:
        if isinstance(action, TerminateNode):
            assert action.node_id not in used | reserved


@given(nodes(), bounds)
def test_what_nobody_keeps_goes_back_within_the_idle_time_and_a_paid_step(fleet: list[Node], given: Bounds) -> None:
    snapshot = world(nodes=fleet, policy=Policy(bounds=given))
    idle_nodes = {n.id for n in warm.idle_nodes(snapshot)}
    kept = release.keepers(snapshot).keys()
    now, released = NOW, set[str]()
    while now <= NOW + snapshot.policy.idle_after_s + HOUR_S:
        heard = replace(snapshot, serving_since=now)
        released |= {action.node_id for action in release.idle(heard, now) if isinstance(action, TerminateNode)}
        now += 5.0
    assert released == idle_nodes - kept


@given(snapshots())
def test_warm_nodes_are_bought_only_while_they_are_missing_and_then_are_there(snapshot: Snapshot) -> None:
    for number in range(40):
        made = planner.plan(snapshot, NOW, 1)
        warm_buys = [action for action in made.actions if isinstance(action, BuyNode) and action.job_id is None]
        lacking = len(warm.missing(snapshot))
        assert len(warm_buys) <= min(lacking, warm.AT_ONCE)
        if not made.actions:
            return
        snapshot = carried_out(snapshot, made.actions, str(number))
        if warm_buys:
            assert len(warm.missing(snapshot)) == lacking - len(warm_buys)


@given(st.lists(sold, max_size=6), st.lists(asks, max_size=3))
def test_as_many_are_kept_warm_as_fit_and_the_cheapest_of_them(offers: list[Offer], given: list[Warm]) -> None:
    cheapest_first = sorted(offers, key=lambda o: o.price_usd_per_hour)
    fleet = [node(f"n{i}", sold_as) for i, sold_as in enumerate(cheapest_first)]
    kept = warm.assigned(given, fleet)
    places = [ask for ask in given for _ in range(ask.count)]
    possible = [chosen for chosen in subsets(fleet) if fills(chosen, places)]
    assert len(kept) == max(map(len, possible))
    cost = sum(host.offer.price_usd_per_hour for host in fleet if host.id in kept)
    assert cost == min(sum(n.offer.price_usd_per_hour for n in c) for c in possible if len(c) == len(kept))


def subsets(fleet: list[Node]) -> Iterator[tuple[Node, ...]]:
    """Every set of nodes, the empty one too."""
    return chain.from_iterable(combinations(fleet, size) for size in range(len(fleet) + 1))


def fills(chosen: Sequence[Node], places: list[Warm]) -> bool:
    """Whether each of these nodes can have a place of its own, found by trying them all."""
    if not chosen:
        return True
    return any(
        offer_refusal(place.ask, chosen[0].offer, "") is None and fills(chosen[1:], [*places[:i], *places[i + 1 :]])
        for i, place in enumerate(places)
    )


@given(snapshots())
def test_deciding_changes_nothing_and_decides_the_same_again(snapshot: Snapshot) -> None:
    before = repr(snapshot)
    first = planner.plan(snapshot, NOW, 1)
    assert repr(snapshot) == before
    turned = replace(snapshot, nodes=snapshot.nodes[::-1], offers=snapshot.offers[::-1], jobs=snapshot.jobs[::-1])
    assert planner.plan(turned, NOW, 1) == first
