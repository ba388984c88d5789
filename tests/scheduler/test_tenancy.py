"""Jobs of projects that do not share nodes are never on one together, whatever is asked, ends and gives way."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.ids import ProjectId
from godwit.domain.jobs import Job, JobState
from godwit.domain.projects import Project
from godwit.scheduler import planner, tenancy
from godwit.scheduler.asks import Ask, NodeKind
from godwit.scheduler.cluster import Cluster
from godwit.scheduler.demands import Demand
from godwit.scheduler.engine import Engine
from godwit.scheduler.plan import BuyNode, Plan, Preempt, StartAttempt
from godwit.scheduler.preemption import MIN_RUN_S, LeastLost
from godwit.scheduler.reasons import Code
from godwit.scheduler.reservations import Patience
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

VISION, SPEECH, AUDIO = ProjectId("vision"), ProjectId("speech"), ProjectId("audio")
TOGETHER = [Project(VISION, shares_nodes=True), Project(SPEECH, shares_nodes=True), Project(AUDIO)]
H100 = NodeKind("H100-SXM", 8, 80.0, 200_000, 2_000_000, "p", "r")


def of(project: ProjectId, name: str, gpus: int = 4, **fields: Any) -> Job:
    return job(name, gpus, project=project, **fields)


def running(project: ProjectId, name: str, gpus: int = 4, **fields: Any) -> Job:
    return of(project, name, gpus, state=JobState.RUNNING, epoch=1, **fields)


def planned(*jobs: Job, on: dict[str, str], projects: list[Project] | None = None, **fields: Any) -> Plan:
    """The plan of a fleet of nodes a and b, with these jobs, of which some run on one of them."""
    nodes = {name: node(name) for name in ("a", "b")}
    attempts = [attempt(one, nodes[on[one.id]]) for one in jobs if one.id in on]
    there = [nodes[name] for name in sorted({*on.values()})]
    snapshot = world(jobs=list(jobs), nodes=there, attempts=attempts, projects=projects or [], **fields)
    return planner.plan(snapshot, NOW, 1)


def starts(plan: Plan) -> dict[str, str]:
    return {one.job_id: one.slots[0].node_id for one in plan.actions if isinstance(one, StartAttempt)}


@given(
    rooms=st.lists(st.integers(1, 8), min_size=1, max_size=5),
    asked=st.lists(
        st.tuples(st.sampled_from(["", "vision", "speech"]), st.sampled_from([0, 1, 2, 8]), st.integers(1, 2),
                  st.sampled_from([250, 1000]), st.sampled_from([0, 100])),
        max_size=14,
    ),
    ends=st.lists(st.integers(0, 13), max_size=10),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_two_tenants_are_never_on_one_node(
    rooms: list[int], asked: list[tuple[str, int, int, int, int]], ends: list[int]
) -> None:
    engine = Engine(Cluster(), yielding=LeastLost(), patience=Patience())
    for number, gpus in enumerate(rooms):
        engine.cluster.add(f"n{number}", replace(H100, gpus=gpus), {"fabric": "f"})
    now = 0.0
    for number, (tenant, gpus, nodes, milli, priority) in enumerate(asked):
        ask = Ask(gpus, milli if gpus == 1 else 1000, 1000, tenant=tenant)
        engine.submit(Demand(f"j{number}", ask, now, nodes, nodes, priority=priority, project=tenant, may_yield=True))
        now += MIN_RUN_S
        for given_up in engine.decide(now).yields:
            engine.ended(given_up.job_id)
        if number < len(ends) and f"j{ends[number]}" in engine.running:
            engine.ended(f"j{ends[number]}")
        _nobody_meets(engine)
    while engine.running:
        engine.ended(next(iter(engine.running)))
        engine.decide(now)
        _nobody_meets(engine)


def _nobody_meets(engine: Engine) -> None:
    on: dict[str, set[str]] = {}
    for one in engine.running.values():
        for share in one.shares:
            on.setdefault(share.node_id, set()).add(one.demand.ask.tenant)
    assert all(len(tenants) == 1 for tenants in on.values()), on
    for node_id, row in engine.cluster.row_of.items():
        assert engine.cluster.tenant_of(row) == next(iter(on.get(node_id, {None})), None)


def test_a_job_of_another_project_goes_elsewhere_and_is_told_whose_the_node_is() -> None:
    holder, waiting = running(VISION, "v"), of(SPEECH, "s")
    plan = planned(holder, waiting, on={"v": "a"})
    assert starts(plan) == {}
    (why,) = [one for one in plan.refusals[waiting.id] if one.code is Code.APART]
    assert (why.subject, why.message) == ("node a", "holds jobs of project vision, and not both projects share nodes")
    bought = planned(holder, waiting, on={"v": "a"}, offers=[offer()])
    assert [one.job_id for one in bought.actions if isinstance(one, BuyNode)] == ["s"]


@pytest.mark.parametrize(
    ("projects", "other", "meet"),
    [
        ([], VISION, True),
        (TOGETHER, SPEECH, True),
        (TOGETHER, AUDIO, False),
        ([Project(VISION, shares_nodes=True), Project(SPEECH)], SPEECH, False),
    ],
    ids=["one project", "both allow it", "one does not", "the other does not"],
)
def test_they_meet_only_where_both_allow_it(projects: list[Project], other: ProjectId, meet: bool) -> None:
    plan = planned(running(VISION, "v"), of(other, "next"), on={"v": "a"}, projects=projects)
    assert starts(plan) == ({"next": "a"} if meet else {})


def test_of_a_node_that_is_anothers_all_must_give_way_and_not_only_some() -> None:
    urgent = of(SPEECH, "s", 4, priority=100)
    low = [running(VISION, name, 4, priority=-100) for name in ("v1", "v2")]
    plan = planned(urgent, *low, on={"v1": "a", "v2": "a"})
    assert starts(plan) == {}
    assert {one.job_id for one in plan.actions if isinstance(one, Preempt)} in ({"v1", "v2"}, set())
    held = [low[0], running(VISION, "v2", 4, priority=100)]
    plan = planned(urgent, *held, on={"v1": "a", "v2": "a"})
    assert [one for one in plan.actions if isinstance(one, Preempt)] == [], "the other one stays, so the node is theirs"


def test_what_a_node_on_its_way_leaves_is_for_its_own_project() -> None:
    jobs = [of(VISION, "v", 4, created_at=NOW - 60), of(VISION, "v2", 4), of(SPEECH, "s", 4)]
    plan = planned(*jobs, on={}, offers=[offer()])
    assert sorted(str(one.job_id) for one in plan.actions if isinstance(one, BuyNode)) == ["s", "v"]


def test_where_all_are_one_tenant_nothing_is_asked() -> None:
    assert tenancy.tenants([], [VISION]) == {VISION: ""}
    assert tenancy.tenants(TOGETHER, [VISION, SPEECH]) == {VISION: "", SPEECH: ""}
    assert tenancy.tenants(TOGETHER, [VISION, AUDIO]) == {VISION: "", AUDIO: "audio"}
