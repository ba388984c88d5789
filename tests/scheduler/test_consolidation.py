"""A running job is moved only where that pays by its own arithmetic, and only to where there is room."""

from collections import Counter
from dataclasses import replace

import pytest
from godwit.domain.jobs import Data
from godwit.domain.resources import Infra
from godwit.scheduler.asks import WHOLE, Ask, NodeKind
from godwit.scheduler.cluster import FABRIC, Cluster, Share
from godwit.scheduler.consolidation import Limits, Proposal, proposals
from godwit.scheduler.demands import Demand, Running
from godwit.scheduler.engine import Engine
from hypothesis import given, settings
from hypothesis import strategies as st

HOUR = 3600.0
NOW = 100 * HOUR
KIND = NodeKind("H100-SXM", 8, 80.0, 200_000, 2_000_000, "p", "r", price_usd_per_hour=24.0)


def fleet(*names: str, kind: NodeKind = KIND, fabric: str = "f") -> Engine:
    cluster = Cluster()
    for name in names:
        cluster.add(name, kind, {"fabric": fabric})
    return Engine(cluster)


def runs(
    engine: Engine, name: str, *nodes: str, gpus: int = 2, left_h: float | None = 10.0, ran_h: float = 2.0,
    saved_min: float = 10.0, may_yield: bool = True, data: tuple[Data, ...] = (), tenant: str = "",
) -> None:  # fmt: skip
    """A job that started `ran_h` ago, runs for `left_h` more and saved `saved_min` ago."""
    started_at = NOW - ran_h * HOUR
    estimate_s = None if left_h is None else (ran_h + left_h) * HOUR
    demand = Demand(
        name,
        Ask(gpus, data=data, tenant=tenant),
        started_at,
        len(nodes),
        len(nodes),
        estimate_s=estimate_s,
        may_yield=may_yield,
    )
    shares = []
    for node in nodes:
        row = engine.cluster.row_of[node]
        shares.append(engine.cluster.share(row, demand.ask))
    engine.started(demand, shares, started_at)
    engine.saved(name, NOW - saved_min * 60)


def freed(found: list[Proposal]) -> list[tuple[str, ...]]:
    return [one.nodes for one in found]


class TestWhenItPays:
    """The arithmetic."""

    def test_the_example_of_the_page(self) -> None:
        engine = fleet("a", "b")
        runs(engine, "small", "a", gpus=2, left_h=10.0)
        runs(engine, "large", "b", gpus=6, left_h=20.0)
        (one,) = proposals(engine, NOW)
        assert one.nodes == ("a",)
        assert one.saved_usd == pytest.approx(24 * (10 - 6 / 60))
        assert one.cost_usd == pytest.approx(6 * 12 / 60)
        assert one.reason == (
            "saves $237.60 (a $24.00/h x 9.90 h) for $1.20 of work done again, restarts and egress "
            "(job small to b $1.20)"
        )

    def test_a_node_that_is_then_in_use_for_longer_saves_that_much_less(self) -> None:
        engine = fleet("a", "b")
        runs(engine, "small", "a", gpus=2, left_h=10.0)
        runs(engine, "large", "b", gpus=6, left_h=4.0, may_yield=False)
        (one,) = proposals(engine, NOW)
        assert one.saved_usd == pytest.approx(24 * (10 - 0.1) - 24 * (10 + 0.2 - 4))
        assert "less b in use for longer $148.80" in one.reason

    def test_nobody_moves_for_a_few_minutes(self) -> None:
        engine = fleet("a", "b")
        runs(engine, "small", "a", left_h=0.1)
        runs(engine, "large", "b", gpus=6, left_h=20.0, may_yield=False)
        assert proposals(engine, NOW) == []

    def test_much_work_since_the_last_checkpoint_keeps_a_job_where_it_is(self) -> None:
        for saved_min, is_moved in ((10.0, True), (30 * 60.0, False)):
            engine = fleet("a", "b")
            runs(engine, "small", "a", left_h=5.0, ran_h=40.0, saved_min=saved_min, gpus=4)
            runs(engine, "large", "b", gpus=4, left_h=90.0, may_yield=False)
            assert bool(proposals(engine, NOW)) is is_moved

    def test_egress_counts(self) -> None:
        data = (Data(Infra("aws"), 10_000.0),)
        for read, is_moved in (((), True), (data, False)):
            engine = fleet("a")
            engine.cluster.add("b", replace(KIND, region="s"), {"fabric": "g"})
            runs(engine, "small", "a", data=read)
            runs(engine, "large", "b", gpus=6, left_h=20.0, may_yield=False)
            assert bool(proposals(engine, NOW)) is is_moved

    def test_where_nobody_knows_how_long_a_job_runs_an_hour_is_the_most_that_is_hoped_for(self) -> None:
        engine = fleet("a", "b")
        runs(engine, "small", "a", left_h=None, ran_h=50.0)
        runs(engine, "large", "b", gpus=6, left_h=20.0, may_yield=False)
        (one,) = proposals(engine, NOW)
        assert one.saved_usd == pytest.approx(24 * (1 - 0.1))


class TestWhatMayMove:
    """Room, and who is left alone."""

    def test_a_gang_moves_whole_and_frees_its_domain(self) -> None:
        engine = fleet("a1", "a2")
        for name in ("b1", "b2"):
            engine.cluster.add(name, KIND, {"fabric": "g"})
        runs(engine, "gang", "a1", "a2", gpus=4)
        for name in ("b1", "b2"):
            runs(engine, f"stays-{name}", name, gpus=4, left_h=50.0, may_yield=False)
        (one,) = proposals(engine, NOW)
        assert one.nodes == ("a1", "a2")
        assert sorted(one.moves[0].to_nodes) == ["b1", "b2"]

    def test_a_gang_is_not_spread_over_two_fabrics(self) -> None:
        engine = fleet("a1", "a2")
        for name in ("b", "c"):
            engine.cluster.add(name, KIND, {"fabric": name})
            runs(engine, f"stays-{name}", name, gpus=4, left_h=50.0, may_yield=False)
        runs(engine, "gang", "a1", "a2", gpus=4)
        assert proposals(engine, NOW) == []

    def test_who_may_not_yield_or_just_started_stays(self) -> None:
        for left_alone in ({"may_yield": False}, {"ran_h": 0.4}):
            engine = fleet("a", "b")
            runs(engine, "small", "a", **left_alone)
            runs(engine, "large", "b", gpus=6, left_h=20.0, may_yield=False)
            assert proposals(engine, NOW) == []

    def test_an_idle_node_is_not_filled_to_empty_another(self) -> None:
        engine = fleet("a", "idle")
        runs(engine, "small", "a")
        assert proposals(engine, NOW) == []

    def test_a_node_that_is_kept_for_somebody_takes_nobody(self) -> None:
        engine = fleet("a", "b")
        runs(engine, "small", "a")
        runs(engine, "large", "b", gpus=6, left_h=20.0, may_yield=False)
        engine.cluster.hold("b", "other")
        assert proposals(engine, NOW) == []

    def test_another_gpu_model_is_no_place_to_go(self) -> None:
        engine = fleet("a")
        engine.cluster.add("b", replace(KIND, model="A100-80GB-SXM"), {"fabric": "f"})
        runs(engine, "small", "a")
        runs(engine, "large", "b", gpus=6, left_h=20.0, may_yield=False)
        assert proposals(engine, NOW) == []

    @pytest.mark.parametrize(
        ("mine", "others", "is_together"),
        [("", "", True), ("vision", "vision", True), ("vision", "speech", False), ("vision", "", False)],
    )
    def test_a_job_goes_to_its_own_tenant_only(self, mine: str, others: str, is_together: bool) -> None:
        engine = fleet("a", "b")
        runs(engine, "small", "a", tenant=mine)
        runs(engine, "large", "b", gpus=6, left_h=20.0, may_yield=False, tenant=others)
        assert freed(proposals(engine, NOW)) == ([("a",)] if is_together else [])

    def test_no_more_jobs_move_within_an_hour_than_the_limit(self) -> None:
        engine = fleet(*(f"n{i}" for i in range(12)))
        for i in range(6):
            runs(engine, f"small{i}", f"n{i}", gpus=2, left_h=10.0 + i)
            runs(engine, f"large{i}", f"n{i + 6}", gpus=6, left_h=50.0, may_yield=False)
        assert freed(proposals(engine, NOW)) == [("n5",), ("n4",), ("n3",), ("n2",)]
        assert freed(proposals(engine, NOW, moved_lately=3)) == [("n5",)]
        assert proposals(engine, NOW, moved_lately=4) == []


def seldom(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 9)) == 9


@st.composite
def engines(draw: st.DrawFn) -> Engine:
    """Up to eight nodes of two kinds in two fabrics, with jobs and small gangs anywhere that they fit."""
    cluster = Cluster()
    for i in range(draw(st.integers(2, 8))):
        price = draw(st.sampled_from([0.0, float("nan")])) if seldom(draw) else draw(st.sampled_from([24.0, 3.0]))
        model = "A100-80GB-SXM" if seldom(draw) else "H100-SXM"
        fabric = draw(st.sampled_from("fg"))
        kind = replace(KIND, price_usd_per_hour=price, model=model)
        cluster.add(f"n{i}", kind, {"fabric": fabric}, is_open=not seldom(draw))
    engine = Engine(cluster)
    for i in range(draw(st.integers(2, 12))):
        nodes, gpus = draw(st.sampled_from([1, 1, 1, 2])), draw(st.sampled_from([2, 1, 4, 0, 8]))
        part = WHOLE // 2 if gpus == 1 and draw(st.booleans()) else WHOLE
        tenant = draw(st.sampled_from(["", "", "vision", "speech"]))
        ask = Ask(gpus, part, cpu_milli=90_000 if seldom(draw) else 1_000, tenant=tenant)
        estimate_s = draw(st.sampled_from([500 * HOUR, 5 * HOUR + 50 * HOUR, None, 1.0]))
        demand = Demand(f"j{i}", ask, 0.0, nodes, nodes, estimate_s=estimate_s, may_yield=not seldom(draw))
        fitting = engine.fits(ask).fitting().tolist()
        start = draw(st.integers(0, 7))
        by_domain = sorted(fitting, key=lambda row: (cluster.domain[FABRIC, row], (row + start) % 8))
        rows = by_domain[:nodes] if nodes > 1 else sorted(fitting, key=lambda row: (row + start) % 8)[:1]
        if len(rows) == nodes and len({int(cluster.domain[FABRIC, row]) for row in rows}) == 1:
            started_at = NOW - (0.1 if seldom(draw) else 50.0) * HOUR
            engine.started(demand, [cluster.share(row, ask) for row in rows], started_at)
            engine.saved(demand.job_id, NOW - draw(st.sampled_from([0.0, 0.1, 20.0])) * HOUR)
    if seldom(draw):
        cluster.hold("n0", "somebody")
    return engine


@settings(max_examples=300)
@given(engines())
def test_every_proposal_pays_and_fits_and_leaves_alone_who_may_not_move(engine: Engine) -> None:
    limits, before = Limits(), engine.cluster.free.copy()
    found = proposals(engine, NOW, limits)
    assert (engine.cluster.free == before).all()
    moves = [move for one in found for move in one.moves]
    assert len(moves) <= limits.moves_per_hour
    assert len({move.job_id for move in moves}) == len(moves)
    for one in found:
        assert one.saved_usd >= limits.margin * one.cost_usd
        assert one.cost_usd == pytest.approx(sum(move.usd for move in one.moves))
    for move in moves:
        running = engine.running[move.job_id]
        assert running.demand.may_yield
        assert NOW - running.started_at >= limits.min_run_s
        assert len(set(move.to_nodes)) == len(move.to_nodes) == len(running.shares)
        domains = {int(engine.cluster.domain[running.demand.within, engine.cluster.row_of[n]]) for n in move.to_nodes}
        assert len(domains) == 1
    _carry_out(engine, found)


def _carry_out(engine: Engine, found: list[Proposal]) -> None:
    """Do them in turn: there is room for each, and the nodes are free afterwards."""
    for one in found:
        leaving = [engine.ended(move.job_id) for move in one.moves]
        by_size = sorted(zip(leaving, one.moves, strict=True), key=lambda pair: -pair[0].demand.gpu_milli)
        for running, move in by_size:
            shares = []
            for node_id in move.to_nodes:
                row = engine.cluster.row_of[node_id]
                assert engine.cluster.open[row]
                assert row not in engine.cluster.held
                there = {on.demand.ask.tenant for on in engine.running.values() if _is_on(on, node_id)}
                assert there <= {running.demand.ask.tenant}, "two tenants on one node"
                share = engine.cluster.share(row, running.demand.ask)
                assert len(share.gpus) == running.demand.ask.gpus
                shares.append(share)
            engine.started(running.demand, shares, NOW)
            _holds(engine, shares)
    in_use = Counter(share.node_id for running in engine.running.values() for share in running.shares)
    assert not any(in_use[node_id] for one in found for node_id in one.nodes)


def _is_on(running: Running, node_id: str) -> bool:
    return any(share.node_id == node_id for share in running.shares)


def _holds(engine: Engine, shares: list[Share]) -> None:
    rows = [engine.cluster.row_of[share.node_id] for share in shares]
    assert (engine.cluster.free[rows] >= 0).all()
    assert (engine.cluster.cpu[rows] >= 0).all()
    assert (engine.cluster.memory[rows] >= 0).all()
