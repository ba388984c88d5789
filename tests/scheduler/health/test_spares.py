"""Spares and the rates that they follow."""

from dataclasses import replace
from typing import Any

from godwit.domain.health import Incident, IncidentState, Remedy
from godwit.domain.ids import IncidentId, NodeId
from godwit.domain.jobs import JobState
from godwit.scheduler import planner, release, warm
from godwit.scheduler.health import rates, spares
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.health.view import HealthView
from godwit.scheduler.plan import BuyNode, StartAttempt, TerminateNode
from godwit.scheduler.snapshot import Policy, Snapshot
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

AUTO = HealthPolicy(spares=None)
RATE = 6.5 / 1_000 / 24


def running(gang: int, idle: int = 0, health: HealthPolicy = AUTO, **fields: Any) -> Snapshot:
    """A gang on `gang` nodes, with `idle` nodes beside it, and more on offer."""
    nodes = [node(f"n{number:03}") for number in range(gang + idle)]
    one = job("train", nodes=gang, state=JobState.RUNNING)
    policy = Policy(health=health)
    return world(
        nodes=nodes, jobs=[one], attempts=[attempt(one, *nodes[:gang])], policy=policy, offers=[offer()], **fields
    )


def incident(number: int, provider: str = "lambda") -> Incident:
    """A GPU that was reset."""
    return Incident(
        IncidentId(f"i{number}"), NodeId(f"n{number}"), provider, IncidentState.CLOSED, NOW, NOW, "xid", "xid:48",
        "table", "", Remedy.RESET_GPU,
    )  # fmt: skip


def test_a_large_gang_pays_for_spares_and_a_small_job_does_not() -> None:
    assert [spares.wanted(nodes, nodes, RATE, AUTO) for nodes in (1, 16, 128, 512, 2_048)] == [0, 0, 1, 2, 4]


def test_one_that_never_fails_needs_none() -> None:
    assert spares.wanted(10_000, 10_000, 0.0, AUTO) == 0


@given(st.integers(1, 4_096), st.integers(1, 4_096), st.floats(0, 0.01))
def test_spares_are_no_fewer_for_more_nodes_larger_gangs_or_more_failures(nodes: int, gang: int, rate: float) -> None:
    few = spares.wanted(nodes, min(gang, nodes), rate, AUTO)
    assert few <= spares.MOST
    assert few <= spares.wanted(2 * nodes, min(gang, nodes), rate, AUTO)
    assert few <= spares.wanted(nodes, nodes, rate, AUTO)
    assert few <= spares.wanted(nodes, min(gang, nodes), 2 * rate, AUTO)


def test_a_missing_spare_is_bought_where_the_gang_runs_and_an_idle_one_is_kept() -> None:
    (buy,) = planner.plan(running(128), NOW, 1).actions
    assert isinstance(buy, BuyNode)
    assert buy.reason.startswith("health.spares keeps 1 of H100-SXM:8 ready, and one is missing")
    there = running(128, idle=1)
    assert release.keepers(there) == {"n128": "health.spares keeps 1 of H100-SXM:8"}
    assert not any(isinstance(one, TerminateNode | BuyNode) for one in planner.plan(there, NOW + 400, 1).actions)


def test_by_default_there_are_no_spares_and_a_number_is_a_number() -> None:
    assert warm.asks(running(128, health=HealthPolicy())) == ()
    assert [one.count for one in warm.asks(running(2, health=HealthPolicy(spares=3)))] == [3]


def test_rates_begin_with_what_others_measured_and_follow_what_is_seen() -> None:
    quiet = running(2)
    assert 6.0 < rates.per_1000_node_days(offer(), quiet) < 7.0
    seen = replace(quiet, health=HealthView(past=tuple(incident(number) for number in range(4))))
    assert rates.per_1000_node_days(offer(), seen) > 100
    elsewhere = replace(quiet, health=HealthView(past=tuple(incident(number, "crusoe") for number in range(4))))
    assert rates.per_hour(offer(), elsewhere) == rates.per_hour(offer(), quiet)
    gang = list(quiet.nodes)
    assert rates.failures_per_s(gang, quiet) == 2 * rates.per_hour(offer(), quiet) / 3_600


def test_one_cause_is_one_failure_and_faults_of_programs_are_none() -> None:
    follows = replace(incident(1), cause=incident(0).id)
    restart = replace(incident(2), remedy=Remedy.RESTART_JOB, check="hang")
    seen = replace(running(2), health=HealthView(past=(incident(0), follows, restart)))
    assert rates.incidents("lambda", seen) == 1


def test_spares_stay_while_their_gang_starts_again() -> None:
    """Between two attempts no gang is there whose spares they would be."""
    there = running(128, idle=1)
    one = job("train", nodes=128, state=JobState.RECOVERING)
    nodes = tuple(replace(node, idle_since=NOW) for node in there.nodes)
    there = replace(there, jobs=(one,), attempts=(), nodes=nodes, serving_since=NOW + 400)
    plan = planner.plan(there, NOW + 400, 1)
    assert [type(action) for action in plan.actions] == [StartAttempt]


def test_an_idle_node_is_not_given_back_while_it_is_repaired() -> None:
    sick = replace(incident(2), state=IncidentState.REPAIRING)
    there = running(2, idle=1, health=HealthPolicy())
    nodes = tuple(replace(node, idle_since=NOW if node.id == "n002" else None) for node in there.nodes)
    view = HealthView(incidents=(replace(sick, node_id=NodeId("n002")),))
    waiting = replace(there, nodes=nodes, health=view)
    gone = [one.node_id for one in release.idle(waiting, NOW + 400) if isinstance(one, TerminateNode)]
    assert gone == []
    back = replace(waiting, health=HealthView())
    assert [one.node_id for one in release.idle(back, NOW + 400) if isinstance(one, TerminateNode)] == ["n002"]


def test_a_gang_that_spans_regions_shares_its_spares() -> None:
    spread = running(128)
    far = offer(region="west", fabric_domain="f2")
    nodes = tuple(one if number < 64 else replace(one, offer=far) for number, one in enumerate(spread.nodes))
    (ask,) = warm.asks(replace(spread, nodes=nodes))
    assert (ask.count, ask.ask.infra[0].region) == (1, None)
