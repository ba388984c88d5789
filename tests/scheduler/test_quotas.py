"""Quotas: what a project may hold and borrow, how it gets back what it lent, and that no order of events breaks it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from godwit.scheduler.accounts import COHORT_FULL, OVER_QUOTA, Limit, Quota
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.cluster import ANYWHERE, Cluster
from godwit.scheduler.demands import Decision, Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.entitlements import Entitled
from godwit.scheduler.fair_share import FairShare, Usage
from godwit.scheduler.preemption import LeastLost
from godwit.scheduler.quotas import CPUS, GPUS, Quotas, amount
from godwit.scheduler.reclaim import Reclaim
from hypothesis import given, settings
from hypothesis import strategies as st

H100 = NodeKind("H100-SXM", 8, 80.0, 200_000, 2_000_000, "p", "r")
NODES = 24
PROJECTS = ("a", "b", "c", "d")


def demand(name: str, project: str, gpus: int = 1, nodes: int = 1, **fields: object) -> Demand:
    since = float(fields.pop("since", 0.0))  # type: ignore[arg-type]
    return Demand(name, Ask(gpus), since, nodes, nodes, ANYWHERE, project, **fields)  # type: ignore[arg-type]


def limit(nominal: int, borrow: int | None = None, lend: int | None = None) -> Limit:
    return Limit(nominal * 1000, *(None if each is None else each * 1000 for each in (borrow, lend)))


def engine(
    *quotas: Quota,
    reclaim: bool = True,
    after: Usage | None = None,
    nodes: int = NODES,
    guards_s: tuple[float, float] = (0.0, 0.0),
) -> tuple[Engine, Quotas]:
    cluster = Cluster()
    for number in range(nodes):
        cluster.add(f"n{number:02}", H100)
    gate = Quotas(quotas)
    past = {} if after is None else {project: after.averages(project) for project in PROJECTS}
    usage = Usage({GPUS: NODES * 8000}, gate, half_life_s=50.0, past=past, now=0.0 if after is None else after.now)
    order = FairShare(usage, gate)
    yielding = Reclaim(gate, patience_s=guards_s[0], min_run_s=guards_s[1]) if reclaim else None
    return Engine(cluster, order=order, gate=usage, yielding=yielding), gate


def cohort(**limits: Limit) -> list[Quota]:
    return [Quota(project, {GPUS: each}, "c") for project, each in limits.items()]


def submit(one: Engine, *demands: Demand, now: float = 0.0) -> Decision:
    for each in demands:
        one.submit(each)
    return one.decide(now)


def started(decision: Decision) -> list[str]:
    return sorted(start.demand.job_id for start in decision.starts)


def test_a_project_alone_holds_its_own_amount_and_no_more() -> None:
    one, gate = engine(Quota("a", {GPUS: limit(4)}))
    assert started(submit(one, *(demand(f"j{n}", "a", 2) for n in range(3)))) == ["j0", "j1"]
    assert gate.refusal(demand("x", "a"), 1) == OVER_QUOTA
    assert gate.refusal(demand("x", "somebody without a quota", 8), 20) is None


def test_what_nobody_of_the_cohort_uses_can_be_borrowed_up_to_the_limit() -> None:
    one, gate = engine(*cohort(a=limit(4, borrow=2), b=limit(4)))
    assert len(started(submit(one, *(demand(f"j{n}", "a") for n in range(9))))) == 6
    (short,) = gate.explain(demand("x", "a"), 1)
    assert (short.code, short.held, short.nominal, short.most, short.short_by) == (OVER_QUOTA, 6000, 4000, 6000, 1000)


def test_what_a_project_does_not_lend_is_never_borrowed() -> None:
    one, gate = engine(*cohort(a=limit(4), b=limit(4, lend=1)))
    assert len(started(submit(one, *(demand(f"j{n}", "a") for n in range(9))))) == 5
    (short,) = gate.explain(demand("x", "a"), 1)
    assert (short.code, short.lent) == (OVER_QUOTA, (("a", 1000),)), "the cohort never has more than five for it"
    assert len(started(submit(one, *(demand(f"b{n}", "b") for n in range(3))))) == 3


def test_what_the_cohort_holds_already_is_another_refusal_than_what_a_project_never_gets() -> None:
    one, gate = engine(*cohort(a=limit(4), b=limit(4)))
    submit(one, *(demand(f"b{n}", "b") for n in range(5)))
    assert gate.refusal(demand("x", "a", 4), 1) == COHORT_FULL
    assert gate.refusal(demand("x", "a", 3), 3) == OVER_QUOTA


def test_an_amount_of_a_family_binds_whoever_may_get_that_family() -> None:
    one, gate = engine(Quota("a", {"H100": limit(2), GPUS: limit(6), CPUS: Limit(99_000)}))
    assert amount(Ask(2, models=("A100",)), "H100") == 0
    assert amount(Ask(2, models=("A100", "H100-SXM")), "H100") == amount(Ask(2), "H100") == 2000
    assert started(submit(one, demand("j0", "a", 2))) == ["j0"]
    (short,) = gate.explain(demand("j1", "a", 1), 1)
    assert short.resource == "H100"


def test_a_gang_that_may_be_smaller_is_given_what_its_quota_allows() -> None:
    one, _ = engine(Quota("a", {GPUS: limit(4)}))
    elastic = Demand("j", Ask(2), 0.0, 1, 4, ANYWHERE, "a")
    (start,) = submit(one, elastic).starts
    assert len(start.shares) == 2


def test_what_is_a_projects_own_goes_before_what_others_borrow() -> None:
    one, _ = engine(*cohort(a=limit(2), b=limit(2)), reclaim=False)
    submit(one, *(demand(f"a{n}", "a") for n in range(2)))
    wanted = [demand("a2", "a", priority=9), demand("a3", "a", priority=9), demand("b0", "b", since=5.0)]
    assert started(submit(one, *wanted)) == ["a2", "b0"]


def test_a_project_below_its_own_amount_takes_back_from_who_borrowed_most_and_loses_least() -> None:
    one, gate = engine(*cohort(a=limit(4), b=limit(2), c=limit(2)))
    submit(one, *(demand(f"b{n}", "b") for n in range(3)), *(demand(f"c{n}", "c") for n in range(5)))
    one.saved("c3", 50.0)
    decision = submit(one, demand("a0", "a", 1, since=60.0), now=60.0)
    assert [(each.job_id, each.to, each.lost_gpu_s) for each in decision.yields] == [("c3", "a0", 10.0)]
    one.ended("c3")
    assert gate.held("a") == {GPUS: 1000}, "what came free is promised to it"
    assert started(one.decide(62.0)) == ["a0"]


def test_what_comes_free_for_a_claim_is_for_nobody_else() -> None:
    one, _ = engine(*cohort(a=limit(4), b=limit(2)))
    submit(one, *(demand(f"b{n}", "b") for n in range(6)))
    assert len(submit(one, demand("gang", "a", 4), now=9.0).yields) == 4
    for gone in ("b0", "b1"):
        one.ended(gone)
        assert started(submit(one, demand(f"not-{gone}", "b", priority=9), now=10.0)) == []
        assert started(submit(one, demand(f"late-{gone}", "a", priority=-1), now=10.0)) == []
    still_there = [name for name in ("b2", "b3", "b4", "b5") if one.running[name].yields_to == "gang"]
    for gone in still_there:
        one.ended(gone)
    assert started(one.decide(11.0)) == ["gang"]


def test_claims_of_several_at_once_do_not_stand_in_each_others_way() -> None:
    one, _ = engine(*cohort(a=limit(4), b=limit(2), c=limit(2)))
    submit(one, *(demand(f"b{n}", "b") for n in range(3)), *(demand(f"c{n}", "c") for n in range(5)))
    first, second = submit(one, demand("a0", "a"), demand("urgent", "c", priority=9), now=60.0).yields
    assert {first.to, second.to} == {"a0", "urgent"}
    one.ended(first.job_id)
    assert started(one.decide(61.0)) == [first.to]
    one.ended(second.job_id)
    assert started(one.decide(62.0)) == [second.to]


def test_a_gang_takes_no_more_jobs_than_it_needs() -> None:
    one, _ = engine(*cohort(a=limit(8), b=limit(0)))
    submit(one, *(demand(f"small{n}", "b") for n in range(4)), demand("large", "b", 4))
    one.saved("small0", 9.0)
    decision = submit(one, demand("gang", "a", 4, since=10.0), now=10.0)
    assert [each.job_id for each in decision.yields] == ["large"] or len(decision.yields) == 4
    assert sum(one.running[each.job_id].gpus for each in decision.yields) == 4


def test_a_small_claim_does_not_stop_a_large_job_while_small_ones_borrow() -> None:
    one, _ = engine(*cohort(a=limit(4), b=limit(4)))
    submit(one, demand("large", "b", 6), demand("small", "b", 1), demand("other", "b", 1))
    decision = submit(one, demand("a0", "a", 1), now=10.0)
    assert [each.job_id for each in decision.yields] == ["other"]


def test_who_borrows_claims_nothing() -> None:
    one, _ = engine(*cohort(a=limit(2), b=limit(2)))
    submit(one, *(demand(f"a{n}", "a") for n in range(3)), demand("b0", "b"))
    assert submit(one, demand("b1", "b", 2), now=1.0).yields == []


def test_on_a_full_fleet_a_claim_stops_those_where_the_gang_then_fits() -> None:
    cluster = Cluster()
    for name in ("n0", "n1", "n2"):
        cluster.add(name, H100)
    gate = Quotas(cohort(a=limit(8), b=limit(16)))
    one = Engine(cluster, order=FairShare(Usage({GPUS: 24_000}), gate), gate=gate, yielding=Reclaim(gate))
    submit(one, *(demand(f"b{n}", "b", 4) for n in range(6)))
    for name, running in one.running.items():
        one.saved(name, 9.0 if running.shares[0].node_id == "n1" else 0.0)
    there = {name for name, running in one.running.items() if running.shares[0].node_id == "n1"}
    assert {each.job_id for each in submit(one, demand("a0", "a", 8), now=10.0).yields} == there
    one.ended(sorted(there)[0])
    assert started(submit(one, demand("a1", "a", 4, priority=-1), now=11.0)) == [], "the node is kept for the first"
    one.ended(sorted(there)[1])
    (start,) = one.decide(12.0).starts
    assert [share.node_id for share in start.shares] == ["n1"]


def test_on_a_full_fleet_nobody_is_stopped_where_the_gang_would_not_fit_after_it() -> None:
    cluster = Cluster()
    for name in ("n0", "n1"):
        cluster.add(name, H100)
    gate = Quotas([*cohort(a=limit(8), b=limit(8)), Quota("c", {})])
    one = Engine(cluster, order=FairShare(Usage({GPUS: 16_000}), gate), gate=gate, yielding=Reclaim(gate))
    submit(one, *(demand(f"{project}{n}", project, 4, may_yield=project == "b") for n in range(2) for project in "bc"))
    assert len(one.running) == 4
    submit(one, demand("b9", "b", 1))
    stops = submit(one, demand("a0", "a", 8), now=10.0).yields
    nodes = {one.running[each.job_id].shares[0].node_id for each in stops}
    assert stops == [] or len(nodes) == 1


def test_a_demand_within_its_own_that_finds_no_room_takes_what_others_borrow_and_no_more() -> None:
    cluster = Cluster()
    for name in ("n0", "n1"):
        cluster.add(name, H100)
    gate = Quotas(cohort(a=limit(8), b=limit(12), c=limit(8)))
    yielding = Reclaim(gate, LeastLost(Entitled(gate), min_run_s=0.0))
    one = Engine(cluster, order=FairShare(Usage({GPUS: 16_000}), gate), gate=gate, yielding=yielding)
    submit(one, *(demand(f"b{n}", "b", 4) for n in range(4)))
    assert gate.refusal(demand("a0", "a", 4), 1) is None, "the quotas are larger than the fleet"
    assert len(submit(one, demand("a0", "a", 4), now=10.0).yields) == 1
    assert submit(one, demand("a1", "a", 4), now=10.0).yields == [], "b holds no more than its own without the first"


def test_a_claim_is_made_after_the_patience_and_not_before() -> None:
    one, gate = engine(*cohort(a=limit(2), b=limit(2)))
    one.yielding = Reclaim(gate, patience_s=30.0)
    submit(one, *(demand(f"b{n}", "b") for n in range(4)))
    decision = submit(one, demand("a0", "a", since=100.0), now=129.0)
    assert (decision.yields, decision.wake_at) == ([], 130.0)
    assert len(one.decide(130.0).yields) == 1


def test_urgent_work_passes_less_urgent_work_of_its_own_project_only() -> None:
    one, _ = engine(*cohort(a=limit(2), b=limit(2)))
    submit(one, demand("a0", "a"), demand("a1", "a"), demand("b0", "b"), demand("b1", "b"))
    decision = submit(one, demand("urgent", "a", priority=1), now=1.0)
    assert [each.job_id for each in decision.yields] == ["a0"]
    assert submit(one, demand("too-large", "a", 3, priority=1), now=1.0).yields == []


def test_urgent_work_passes_its_own_less_urgent_and_then_takes_back_what_others_borrow() -> None:
    one, _ = engine(*cohort(a=limit(8), b=limit(2)))
    submit(one, *(demand(f"a{n}", "a") for n in range(2)), *(demand(f"b{n}", "b") for n in range(8)))
    stops = submit(one, demand("urgent", "a", 8, priority=1), now=1.0).yields
    assert sorted(each.job_id[0] for each in stops) == ["a"] * 2 + ["b"] * 6


def test_what_is_told_not_to_yield_is_left_alone() -> None:
    one, _ = engine(*cohort(a=limit(2), b=limit(2)))
    submit(one, *(demand(f"b{n}", "b", may_yield=False) for n in range(4)))
    assert submit(one, demand("a0", "a"), now=1.0).yields == []


def test_what_would_be_served_first_again_is_not_stopped() -> None:
    one, gate = engine(Quota("a", {GPUS: limit(1)}))
    one.order = FairShare(Usage({GPUS: NODES * 8000}), gate, head_start_s=10.0)
    submit(one, demand("old", "a", since=0.0))
    assert submit(one, demand("urgent", "a", priority=1, since=20.0), now=20.0).yields == []
    one.withdraw("urgent")
    assert len(submit(one, demand("sooner", "a", priority=1, since=9.0), now=20.0).yields) == 1


def test_a_withdrawn_claim_gives_up_what_was_promised() -> None:
    one, gate = engine(*cohort(a=limit(2), b=limit(2)))
    submit(one, *(demand(f"b{n}", "b") for n in range(4)))
    submit(one, demand("a0", "a"), now=1.0)
    one.withdraw("a0")
    assert gate.held("a") == {GPUS: 0}


@pytest.mark.parametrize("bad", [(-1, None, None), (1, -1, None), (1, None, -1)])
def test_negative_amounts_are_refused(bad: tuple[int, int | None, int | None]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Limit(*bad)


def test_two_quotas_for_one_project_are_refused() -> None:
    with pytest.raises(ValueError, match="two quotas"):
        Quotas([Quota("a", {}), Quota("a", {})])


QUOTAS = st.lists(
    st.tuples(st.integers(0, 8), st.none() | st.integers(0, 6), st.none() | st.integers(0, 6), st.sampled_from("xy")),
    min_size=3,
    max_size=3,
).map(lambda rows: [Quota(p, {GPUS: limit(*row[:3])}, row[3]) for p, row in zip(PROJECTS, rows, strict=False)])
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "end", "withdraw", "decide"]),
        st.integers(0, 30),
        st.sampled_from([1, 2, 4]),
        st.integers(1, 3),
    ),
    max_size=50,
)


@settings(max_examples=150, deadline=None)
@given(quotas=QUOTAS, edits=EDITS, data=st.data())
def test_limits_hold_and_what_is_booked_is_what_runs_after_any_events(
    quotas: Sequence[Quota], edits: Sequence[tuple[str, int, int, int]], data: st.DataObject
) -> None:
    one, gate = engine(*quotas)
    waiting: dict[str, Demand] = {}
    for now, (what, which, gpus, nodes) in enumerate(edits):
        if what == "submit":
            job = demand(f"j{now}", PROJECTS[which % 4], gpus, nodes, priority=which % 3, since=float(now))
            waiting[job.job_id] = job
            one.submit(job)
        elif what == "end" and one.running:
            one.ended(sorted(one.running)[which % len(one.running)])
        elif what == "withdraw" and waiting:
            one.withdraw(waiting.pop(sorted(waiting)[which % len(waiting)]).job_id)
        elif what == "decide":
            _settle(one, waiting, float(now))
            _check(gate, one, quotas)
    _settle(one, waiting, 100.0)
    for gone in sorted(one.running)[:2]:
        one.ended(gone)
    anew, its = _anew(one, quotas, waiting, data)
    assert {p: gate.held(p) for p in PROJECTS} == {p: its.held(p) for p in PROJECTS}
    mine, same = one.decide(101.0), anew.decide(101.0)
    assert (mine.starts, mine.yields) == (same.starts, same.yields)


def _anew(
    one: Engine, quotas: Sequence[Quota], waiting: dict[str, Demand], data: st.DataObject, **fields: Any
) -> tuple[Engine, Quotas]:
    """Made from what is so: what runs and to whom it yields, what is kept for whom, and who waits."""
    assert isinstance(one.gate, Usage)
    anew, its = engine(*data.draw(st.permutations(quotas)), after=one.gate, **fields)
    for name in data.draw(st.permutations(sorted(one.running))):
        running = one.running[name]
        anew.started(running.demand, running.shares, running.started_at)
    for name in data.draw(st.permutations(sorted(waiting))):
        for node_id in one.kept_for(name):
            anew.keep(node_id, waiting[name])
        anew.submit(waiting[name])
        told = [job_id for job_id, running in one.running.items() if running.yields_to == name]
        if told:
            anew.gives_way(told, waiting[name])
    return anew, its


def _settle(one: Engine, waiting: dict[str, Demand], now: float) -> None:
    """Decide until nobody yields any more; who yields stops at once and waits again."""
    for _ in range(100):
        decision = one.decide(now)
        for start in decision.starts:
            del waiting[start.demand.job_id]
        for each in decision.yields:
            gone = one.ended(each.job_id).demand
            waiting[gone.job_id] = gone
            one.submit(gone)
        if not decision.yields:
            return
    raise AssertionError("jobs stop each other without end")


def _check(gate: Quotas, one: Engine, quotas: Sequence[Quota]) -> None:
    held = _check_limits(one, quotas)
    assert all(gate.held(quota.project) == {GPUS: held[quota.project]} for quota in quotas)


def _check_limits(one: Engine, quotas: Sequence[Quota]) -> Counter[str]:
    held = Counter[str]()
    for running in one.running.values():
        held[running.demand.project] += running.demand.ask.total_milli * len(running.shares)
    lent, pool = Counter[str](), Counter[str]()
    for quota in quotas:
        each = quota.limits[GPUS]
        if each.borrow_max is not None:
            assert held[quota.project] <= each.nominal + each.borrow_max
        pool[quota.cohort] += each.nominal - each.kept
        lent[quota.cohort] += max(0, held[quota.project] - each.kept)
    assert all(lent[name] <= pool[name] for name in pool)
    return held


@settings(max_examples=100, deadline=None)
@given(quotas=QUOTAS, jobs=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 4])), max_size=30))
def test_whoever_waits_with_its_own_amount_unused_gets_it_from_those_who_borrow(
    quotas: Sequence[Quota], jobs: Sequence[tuple[int, int]]
) -> None:
    one, gate = engine(*quotas)
    waiting = {f"j{n}": demand(f"j{n}", PROJECTS[p], gpus, since=float(n)) for n, (p, gpus) in enumerate(jobs)}
    for job in waiting.values():
        one.submit(job)
        _settle(one, {**waiting}, 50.0)
    for name in set(waiting) - set(one.running):
        assert gate.borrows(waiting[name], 1), "it would keep within its project's own and still waits"


@settings(max_examples=200, deadline=None)
@given(
    quotas=QUOTAS,
    edits=EDITS,
    nodes=st.sampled_from([2, NODES]),
    guards_s=st.sampled_from([(0.0, 0.0), (3.0, 0.0), (0.0, 5.0), (2.0, 9.0)]),
    data=st.data(),
)
def test_limits_and_promises_hold_while_those_who_yield_take_their_time(
    quotas: Sequence[Quota],
    edits: Sequence[tuple[str, int, int, int]],
    nodes: int,
    guards_s: tuple[float, float],
    data: st.DataObject,
) -> None:
    one, gate = engine(*quotas, nodes=nodes, guards_s=guards_s)
    waiting: dict[str, Demand] = {}
    for now, (what, which, gpus, size) in enumerate(edits):
        if what == "submit":
            job = demand(f"j{now}", PROJECTS[which % 4], gpus, size, priority=which % 3, since=float(now))
            waiting[job.job_id] = job
            one.submit(job)
        elif what == "end" and one.running:
            one.ended(sorted(one.running)[which % len(one.running)])
        elif what == "withdraw" and waiting:
            one.withdraw(waiting.pop(sorted(waiting)[which % len(waiting)]).job_id)
        elif what == "decide":
            for start in one.decide(float(now)).starts:
                del waiting[start.demand.job_id]
        _check_limits(one, quotas)
    now = len(edits)
    for start in one.decide(float(now)).starts:
        del waiting[start.demand.job_id]
    anew, its = _anew(one, quotas, waiting, data, nodes=nodes, guards_s=guards_s)
    assert {p: gate.held(p) for p in PROJECTS} == {p: its.held(p) for p in PROJECTS}
    for name in sorted(one.running)[: data.draw(st.integers(0, 2))]:
        one.ended(name)
        anew.ended(name)
    mine, same = one.decide(now + 1.0), anew.decide(now + 1.0)
    assert (mine.starts, mine.yields) == (same.starts, same.yields)
    for name in sorted(set(waiting) - {start.demand.job_id for start in mine.starts}):
        one.withdraw(name)
    for gone in list(one.running):
        one.ended(gone)
    assert all(not any(gate.held(project).values()) for project in PROJECTS)


@given(
    quotas=QUOTAS, held=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=6), gpus=st.integers(1, 9)
)
def test_a_quota_raised_by_what_a_refusal_says_is_missing_lets_the_demand_in(
    quotas: Sequence[Quota], held: Sequence[tuple[int, int]], gpus: int
) -> None:
    def gate_of(quotas: Sequence[Quota]) -> Quotas:
        gate = Quotas(quotas)
        for number, (project, each) in enumerate(held):
            gate.started(demand(f"j{number}", PROJECTS[project], each), 1)
        return gate

    wanted = demand("x", "a", gpus)
    for short in gate_of(quotas).explain(wanted, 1):
        assert short.short_by > 0
        was = quotas[0].limits[GPUS]
        more = Limit(was.nominal + short.short_by, was.borrow_max, was.lend_max)
        assert gate_of([Quota("a", {GPUS: more}, quotas[0].cohort), *quotas[1:]]).refusal(wanted, 1) is None


@settings(max_examples=150, deadline=None)
@given(quotas=QUOTAS, edits=EDITS)
def test_a_claim_stops_enough_and_nobody_without_whom_it_would_be_enough(
    quotas: Sequence[Quota], edits: Sequence[tuple[str, int, int, int]]
) -> None:
    one, _ = engine(*quotas)
    for now, (_, which, gpus, nodes) in enumerate(edits):
        wanted = demand(f"j{now}", PROJECTS[which % 3], gpus, nodes, priority=which % 3, since=float(now))
        one.submit(wanted)
        told = [one.running[each.job_id] for each in one.decide(float(now)).yields]
        for claimant in {running.yields_to for running in told}:
            assert claimant == wanted.job_id, "only what is new may claim: all else was settled"
        without = Quotas(quotas)
        for running in one.running.values():
            if running not in told:
                without.started(running.demand, len(running.shares))
        for spared in told:
            assert without.refusal(wanted, nodes) is None
            without.started(spared.demand, len(spared.shares))
            assert without.refusal(wanted, nodes) is not None
            without.ended(spared.demand, len(spared.shares))
        for running in told:
            one.submit(one.ended(running.demand.job_id).demand)
        one.decide(float(now))
        for waiting in one.waiting.in_order():
            one.withdraw(waiting.job_id)
