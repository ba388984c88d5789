"""What the bounds of the fleet hold back, keep, and make ready."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.jobs import JobState, Resources, Spot
from godwit.domain.nodes import Gpu, Health, Node, NodeState
from godwit.domain.resources import GpuAsk, parse_gpus
from godwit.scheduler import planner, release, warm
from godwit.scheduler.bounds import Bounds, Warm
from godwit.scheduler.plan import BuyNode, Plan, StartAttempt, TerminateNode
from godwit.scheduler.reasons import Code
from godwit.scheduler.snapshot import Hold, Policy, Snapshot
from godwit.scheduler.trust import Record

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world

H100 = Warm(Resources(gpus=parse_gpus("H100:8")))
LONG_AGO = NOW - 10_000
CHEAP, DEAR = offer("cheap", price=10.0), offer("dear", price=30.0)


def bounded(bounds: Bounds | None = None, /, warm: Warm | None = None, **fields: Any) -> Snapshot:
    given = bounds or Bounds(warm=() if warm is None else (warm,))
    return world(policy=Policy(bounds=given), **fields)


def plan(snapshot: Snapshot) -> Plan:
    return planner.plan(snapshot, NOW, seed=1)


def bought(made: Plan) -> list[str]:
    return [action.offer.instance_type for action in made.actions if isinstance(action, BuyNode)]


def released(made: Plan) -> list[str]:
    return [action.node_id for action in made.actions if isinstance(action, TerminateNode)]


def coming(name: str, **fields: Any) -> Node:
    return node(name, CHEAP, NodeState.PROVISIONING, gpus=(), idle_since=None, **fields)


class TestMaximum:
    """What may be bought."""

    def test_nothing_is_bought_beyond_the_most_nodes(self) -> None:
        busy = job("busy", state=JobState.RUNNING)
        host = node("n1", idle_since=None)
        snapshot = bounded(
            Bounds(max_nodes=2), jobs=[busy, job("a", nodes=2)], nodes=[host], attempts=[attempt(busy, host)],
            offers=[offer()],
        )  # fmt: skip
        made = plan(snapshot)
        assert bought(made) == []
        (refusal,) = (r for r in made.refusals["a"] if r.code is Code.FLEET_MAX)  # type: ignore[index]
        assert refusal.subject == "fleet.max_nodes"
        assert refusal.message == "is 2: the fleet has 1 node, and 2 more are needed"
        assert refusal.would_help == "wait until nodes go back, or raise fleet.max_nodes"

    def test_a_job_larger_than_the_fleet_may_be_is_not_told_to_wait(self) -> None:
        made = plan(bounded(Bounds(max_nodes=2), jobs=[job("a", nodes=3)], offers=[offer()]))
        (refusal,) = made.refusals["a"]  # type: ignore[index]
        assert refusal.would_help == "ask for less, or raise fleet.max_nodes"

    def test_where_kept_nodes_leave_no_room_it_is_told_which_bounds_to_change(self) -> None:
        kept = [node(f"n{i}", offer("other", gpu_model="A40"), idle_since=LONG_AGO) for i in range(2)]
        made = plan(bounded(Bounds(min_nodes=2, max_nodes=2), jobs=[job("a")], nodes=kept, offers=[offer()]))
        assert made.actions == ()
        refusal = next(r for r in made.refusals["a"] if r.code is Code.FLEET_MAX)  # type: ignore[index]
        assert refusal.message == "is 2: the fleet has 2 nodes, and 1 more is needed"
        assert refusal.would_help.endswith("or lower fleet.min_nodes and fleet.warm, which keep 2 nodes")

    def test_nothing_is_bought_beyond_the_most_dollars_per_hour(self) -> None:
        snapshot = bounded(Bounds(max_usd_per_hour=25.0), jobs=[job("a")], nodes=[coming("n1")], offers=[offer()])
        taken = replace(snapshot.nodes[0], reserved_for=job("b").id)
        made = plan(replace(snapshot, nodes=(taken,), jobs=(*snapshot.jobs, job("b"))))
        assert bought(made) == []
        told = next(r for r in made.refusals["a"] if r.code is Code.FLEET_MAX)  # type: ignore[index]
        assert told.subject == "fleet.max_usd_per_hour"
        assert told.message == "is $25.00: the fleet costs $10.00/h, and $20.00/h more is needed"

    @pytest.mark.parametrize("most", [Bounds(max_nodes=2), Bounds(max_usd_per_hour=40.0)])
    def test_what_reaches_the_maximum_exactly_is_bought(self, most: Bounds) -> None:
        assert len(bought(plan(bounded(most, jobs=[job("a", nodes=2)], offers=[offer(price=20.0)])))) == 2

    def test_jobs_of_one_plan_share_the_room(self) -> None:
        made = plan(bounded(Bounds(max_nodes=1), jobs=[job("a"), job("b")], offers=[offer()]))
        assert len(bought(made)) == 1
        assert {r.code for r in made.refusals["b"]} >= {Code.FLEET_MAX}  # type: ignore[index]

    def test_within_a_maximum_of_dollars_the_cheap_wins_over_the_trusted(self) -> None:
        shaky, solid = offer("shaky", price=19.0), offer("solid", price=20.0)
        market = world(jobs=[job("a")], offers=[shaky, solid], records={shaky.key: Record(refusals=5)})
        assert bought(plan(market)) == ["solid"]
        assert bought(plan(replace(market, policy=Policy(bounds=Bounds(max_usd_per_hour=19.5))))) == ["shaky"]

    @pytest.mark.parametrize("state", [NodeState.REQUESTED, NodeState.LOST, NodeState.TERMINATING])
    def test_a_node_counts_until_its_provider_says_that_it_is_gone(self, state: NodeState) -> None:
        other = node("n1", state=state, reserved_for=job("b").id, state_since=NOW, idle_since=None)
        made = plan(bounded(Bounds(max_nodes=1), jobs=[job("a"), job("b")], nodes=[other], offers=[offer()]))
        assert bought(made) == []

    def test_a_lowered_maximum_ends_nothing_and_what_costs_nothing_is_still_had(self) -> None:
        fleet = [node(f"n{i}", DEAR) for i in range(3)]
        assert released(plan(bounded(Bounds(max_nodes=1), nodes=fleet))) == []
        free = offer("own", gpu_model="A40", price=0.0)
        ask = job("a", gpus=0, infra=())
        wanting = replace(ask, spec=replace(ask.spec, resources=Resources(gpus=parse_gpus("A40:1"))))
        made = plan(bounded(Bounds(max_usd_per_hour=50.0), jobs=[wanting], nodes=fleet, offers=[free]))
        assert bought(made) == ["own"]

    def test_a_preview_tells_of_the_maximum_too(self) -> None:
        made = planner.preview(bounded(Bounds(max_nodes=0), offers=[offer()]), job("new"), NOW, 1)
        assert [r.code for r in made.refusals["new"]] == [Code.FLEET_MAX]  # type: ignore[index]


class TestMinimum:
    """What is not given back."""

    def test_the_cheapest_idle_nodes_are_kept_up_to_the_least_number(self) -> None:
        fleet = [node("n1", DEAR, idle_since=LONG_AGO), node("n2", CHEAP, idle_since=LONG_AGO),
                 node("n3", DEAR, idle_since=LONG_AGO)]  # fmt: skip
        assert released(plan(bounded(Bounds(min_nodes=1), nodes=fleet))) == ["n1", "n3"]

    def test_nodes_in_use_count_towards_it(self) -> None:
        busy, host = job("busy", state=JobState.RUNNING), node("n1", idle_since=None)
        unused = node("n2", idle_since=LONG_AGO)
        snapshot = bounded(Bounds(min_nodes=1), jobs=[busy], nodes=[host, unused], attempts=[attempt(busy, host)])
        assert released(plan(snapshot)) == ["n2"]

    @pytest.mark.parametrize("state", [NodeState.PROVISIONING, NodeState.DRAINING])
    def test_nodes_that_may_never_come_or_leave_do_not(self, state: NodeState) -> None:
        busy = job("busy", state=JobState.RUNNING)
        other = node("n1", state=state, idle_since=None, state_since=NOW)
        snapshot = bounded(Bounds(min_nodes=1), jobs=[busy], nodes=[other, node("n2", idle_since=LONG_AGO)])
        assert "n2" not in released(plan(snapshot))

    def test_a_cheap_node_whose_paid_hour_ends_is_kept_and_the_dear_one_goes_when_its_hour_does(self) -> None:
        ending = node("n1", replace(CHEAP, billing_step_s=3600.0), created_at=NOW - 3_550, idle_since=LONG_AGO)
        young = node("n2", replace(DEAR, billing_step_s=3600.0), created_at=NOW - 100, idle_since=LONG_AGO)
        assert released(plan(bounded(Bounds(min_nodes=1), nodes=[ending, young]))) == []
        later = replace(young, created_at=NOW - 3_550)
        assert released(plan(bounded(Bounds(min_nodes=1), nodes=[ending, later]))) == ["n2"]

    def test_nothing_is_bought_for_it(self) -> None:
        assert bought(plan(bounded(Bounds(min_nodes=3), offers=[offer()]))) == []


class TestWarm:
    """What is kept ready."""

    def test_a_missing_warm_node_is_bought_where_it_is_cheapest_and_for_nobody(self) -> None:
        (action,) = plan(bounded(warm=H100, offers=[DEAR, CHEAP, offer("small", gpu_count=4, price=1.0)])).actions
        assert isinstance(action, BuyNode)
        assert (action.offer, action.job_id) == (CHEAP, None)
        assert action.reason == (
            "fleet.warm keeps 1 of H100:8 ready, and one is missing: "
            "lambda/east/-/cheap/on-demand at $10.00/h is the cheapest"
        )

    @pytest.mark.parametrize("there", [node("n1", idle_since=LONG_AGO), coming("n1")])
    def test_nothing_is_bought_or_given_back_while_one_is_there_or_on_its_way(self, there: Node) -> None:
        assert plan(bounded(warm=H100, nodes=[there], offers=[CHEAP])).actions == ()

    def test_a_job_takes_the_warm_node_and_the_next_plan_buys_another(self) -> None:
        waiting, host = job("a"), node("n1", idle_since=LONG_AGO)
        first = plan(bounded(warm=H100, jobs=[waiting], nodes=[host], offers=[CHEAP]))
        assert [type(action) for action in first.actions] == [StartAttempt]
        running = replace(waiting, state=JobState.RUNNING)
        taken = bounded(
            warm=H100, jobs=[running], nodes=[replace(host, idle_since=None)], offers=[CHEAP],
            attempts=[attempt(running, host)],
        )  # fmt: skip
        assert bought(plan(taken)) == ["cheap"]
        full = replace(taken, policy=Policy(bounds=Bounds(max_nodes=1, warm=(H100,))))
        assert bought(plan(full)) == []

    def test_of_several_that_fit_the_cheapest_stay(self) -> None:
        fleet = [node("n1", DEAR, idle_since=LONG_AGO), node("n2", CHEAP, idle_since=LONG_AGO)]
        assert released(plan(bounded(warm=H100, nodes=fleet))) == ["n1"]

    def test_a_node_that_two_asks_fit_goes_to_the_one_that_has_no_other(self) -> None:
        anything = Warm(Resources(gpus=GpuAsk(8)))
        a100 = offer("a100", gpu_model="A100-80GB-SXM", price=90.0)
        fleet = [node("n1", CHEAP, idle_since=LONG_AGO), node("n2", a100, idle_since=LONG_AGO)]
        bounds = Bounds(warm=(anything, H100))
        assert plan(bounded(bounds, nodes=fleet, offers=[CHEAP])).actions == ()
        assert release.keepers(bounded(bounds, nodes=fleet)) == {
            "n1": "fleet.warm keeps 1 of H100:8",
            "n2": "fleet.warm keeps 1 of any:8",
        }

    def test_a_node_with_a_sick_gpu_is_no_warm_node(self) -> None:
        sick = node("n1", idle_since=LONG_AGO)
        gpus: tuple[Gpu, ...] = (replace(sick.gpus[0], health=Health.FAULTY), *sick.gpus[1:])
        assert released(plan(bounded(warm=H100, nodes=[replace(sick, gpus=gpus)], offers=[CHEAP]))) == ["n1"]

    def test_a_warm_ask_may_refuse_spot(self) -> None:
        ask = Warm(replace(H100.ask, spot=Spot.NEVER))
        assert bought(plan(bounded(warm=ask, offers=[replace(CHEAP, spot=True), DEAR]))) == ["dear"]

    def test_few_are_on_their_way_at_once(self) -> None:
        many = replace(H100, count=10)
        assert len(bought(plan(bounded(warm=many, offers=[CHEAP])))) == warm.AT_ONCE
        boots = [coming(f"n{i}") for i in range(warm.AT_ONCE)]
        assert bought(plan(bounded(warm=many, nodes=boots, offers=[CHEAP]))) == []
        for_a_job = [replace(boot, reserved_for=job("a").id) for boot in boots]
        assert len(bought(plan(bounded(warm=many, jobs=[job("a", nodes=2)], nodes=for_a_job, offers=[CHEAP])))) == 2

    def test_a_provider_that_refuses_many_offers_is_not_asked_for_warm_nodes(self) -> None:
        refused = [offer(f"t{i}") for i in range(warm.STORM)]
        holds = [Hold(o.key, NOW + 20, "refused: quota") for o in refused]
        calm = offer("calm", price=90.0)
        assert bought(plan(bounded(warm=H100, offers=[*refused, calm], holds=holds))) == []
        assert bought(plan(bounded(warm=H100, offers=[*refused, calm], holds=holds[1:]))) == ["t0"]
        elsewhere = offer("elsewhere", provider="nebius", price=99.0)
        assert bought(plan(bounded(warm=H100, offers=[*refused, calm, elsewhere], holds=holds))) == ["elsewhere"]
        made = plan(bounded(warm=H100, jobs=[job("a")], offers=[*refused, calm], holds=holds))
        assert bought(made) == ["calm"], "a job is still served there"

    def test_a_job_that_waits_for_room_comes_before_a_warm_node(self) -> None:
        fleet = [node("n1", offer("other", gpu_model="A40"), idle_since=NOW)]
        bounds = Bounds(max_nodes=2, warm=(H100,))
        assert bought(plan(bounded(bounds, nodes=fleet, offers=[CHEAP]))) == ["cheap"]
        assert bought(plan(bounded(bounds, jobs=[job("a", nodes=2)], nodes=fleet, offers=[CHEAP]))) == []

    def test_nothing_warm_is_bought_in_a_plan_that_changes_who_has_what(self) -> None:
        stale = node("n1", reserved_for=job("gone").id)
        made = plan(bounded(warm=H100, nodes=[stale], offers=[CHEAP]))
        assert [type(action).__name__ for action in made.actions] == ["ReserveNode"]
