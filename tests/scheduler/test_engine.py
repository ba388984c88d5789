"""The incremental planner: gangs whole or not at all, near each other, and the same answer however it was told."""

from collections.abc import Sequence

import pytest
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.cluster import ANYWHERE, FABRIC, Cluster, Share
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import NO_ROOM, Engine
from hypothesis import given, settings
from hypothesis import strategies as st

H100 = NodeKind("H100-SXM", 8, 80.0, 200_000, 2_000_000, "p", "r")
A100 = NodeKind("A100-80GB-SXM", 8, 80.0, 200_000, 2_000_000, "p", "r")


def engine(*nodes: tuple[str, NodeKind, str]) -> Engine:
    cluster = Cluster()
    for name, kind, fabric in nodes:
        cluster.add(name, kind, {"fabric": fabric})
    return Engine(cluster)


def demand(name: str, gpus: int = 8, nodes: int = 1, **fields: object) -> Demand:
    return Demand(name, Ask(gpus), 0.0, nodes, nodes, **fields)  # type: ignore[arg-type]


def placed(one: Engine, *demands: Demand) -> dict[str, list[str]]:
    for each in demands:
        one.submit(each)
    return {start.demand.job_id: [share.node_id for share in start.shares] for start in one.decide(0.0).starts}


def test_a_gang_is_placed_whole_or_not_at_all() -> None:
    one = engine(("a", H100, "f"), ("b", H100, "f"))
    assert placed(one, demand("three", nodes=3)) == {}
    assert one.blocked() == {"three": NO_ROOM}
    assert sorted(placed(one, demand("two", nodes=2))["two"]) == ["a", "b"]


def test_a_gang_stays_within_one_fabric_and_one_model_and_leaves_the_larger_fabric_whole() -> None:
    small = [("s1", H100, "small"), ("s2", H100, "small")]
    large = [(f"l{i}", H100, "large") for i in range(4)]
    one = engine(*large, *small, ("x", A100, "small"))
    assert sorted(placed(one, demand("two", nodes=2))["two"]) == ["s1", "s2"]
    assert placed(one, demand("five", nodes=5, within=ANYWHERE)) == {}
    assert len(placed(one, demand("four", nodes=4))["four"]) == 4


def test_small_jobs_fill_nodes_that_are_nearly_full() -> None:
    one = engine(("a", H100, "f"), ("b", H100, "f"))
    first = placed(one, demand("six", gpus=6))["six"]
    assert placed(one, demand("two", gpus=2))["two"] == first


def test_what_is_kept_for_a_job_goes_to_nobody_else() -> None:
    one = engine(("a", H100, "f"))
    one.keep("a", demand("mine"))
    assert placed(one, demand("other")) == {}
    assert placed(one, demand("mine")) == {"mine": ["a"]}
    one.ended("mine")
    assert placed(one) == {"other": ["a"]}


def test_what_is_kept_for_a_waiting_job_serves_it_though_older_ones_like_it_wait() -> None:
    one = engine(("a", H100, "f"))
    one.submit(demand("older"))
    one.submit(demand("younger"))
    one.keep("a", demand("younger"))
    assert placed(one) == {"younger": ["a"]}


def test_higher_priority_goes_first_then_the_older() -> None:
    one = engine(("a", H100, "f"))
    assert list(placed(one, demand("low"), demand("high", priority=5))) == ["high"]


Edit = tuple[str, int, int, int]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "end", "withdraw", "close", "open", "decide", "leave"]),
        st.integers(0, 30),
        st.sampled_from([1, 2, 4, 8]),
        st.integers(1, 3),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(edits=EDITS, data=st.data())
def test_an_engine_that_was_told_of_changes_decides_as_one_made_anew(
    edits: Sequence[Edit], data: st.DataObject
) -> None:
    nodes = {f"n{i}": (H100 if i % 3 else A100, f"f{i % 2}") for i in range(6)}
    one = engine(*((name, *where) for name, where in nodes.items()))
    present, closed = dict(nodes), set[str]()
    waiting: dict[str, Demand] = {}
    for number, (what, which, gpus, size) in enumerate(edits):
        name = f"n{which % 6}"
        if what == "submit":
            job = demand(f"j{number}", gpus, size, priority=which % 3)
            waiting[job.job_id] = job
            one.submit(job)
        elif what == "end" and one.running:
            one.ended(sorted(one.running)[which % len(one.running)])
        elif what == "withdraw" and waiting:
            gone = sorted(waiting)[which % len(waiting)]
            one.withdraw(gone)
            del waiting[gone]
        elif what in ("close", "open") and name in present:
            one.cluster.set_open(name, what == "open")
            (closed.discard if what == "open" else closed.add)(name)
        elif what == "leave" and name in present and len(present) > 2:
            one.cluster.remove(name)
            del present[name]
        elif what == "decide":
            for start in one.decide(0.0).starts:
                del waiting[start.demand.job_id]
    anew = _anew(data.draw(st.permutations(sorted(present.items()))), closed, one, waiting)
    mine, its = one.decide(1.0), anew.decide(1.0)
    assert mine.starts == its.starts
    assert one.blocked() == anew.blocked()
    _check_capacity(one, present)


def _anew(
    nodes: Sequence[tuple[str, tuple[NodeKind, str]]], closed: set[str], one: Engine, waiting: dict[str, Demand]
) -> Engine:
    made = engine(*((name, *where) for name, where in nodes))
    for name in closed & {name for name, _ in nodes}:
        made.cluster.set_open(name, is_open=False)
    for running in one.running.values():
        shares = [share for share in running.shares if share.node_id in made.cluster.row_of]
        made.started(running.demand, shares, 0.0)
    for job in waiting.values():
        made.submit(job)
    return made


def _check_capacity(one: Engine, present: dict[str, tuple[NodeKind, str]]) -> None:
    held: dict[tuple[str, int], int] = {}
    shares: list[Share] = [share for running in one.running.values() for share in running.shares]
    for share in shares:
        for gpu in share.gpus:
            held[share.node_id, gpu] = held.get((share.node_id, gpu), 0) + share.gpu_milli
    assert all(milli <= 1000 for milli in held.values())
    for running in one.running.values():
        assert len(running.shares) == running.demand.nodes_max
        assert len({share.node_id for share in running.shares}) == len(running.shares)


@pytest.mark.parametrize("within", [FABRIC, ANYWHERE])
def test_a_gang_for_one_fabric_never_straddles_two(within: int) -> None:
    one = engine(*((f"n{i}", H100, f"f{i % 2}") for i in range(4)))
    got = placed(one, demand("three", nodes=3, within=within))
    assert bool(got) is (within == ANYWHERE)
