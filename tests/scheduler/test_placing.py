"""Who gets which nodes, what is bought, and what the others are told."""

from dataclasses import replace
from typing import Any

import pytest
from godwit.domain.ids import JobId
from godwit.domain.jobs import Fabric, JobState, Slot, Spot
from godwit.domain.nodes import Health, NodeState
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk, parse_infra
from godwit.scheduler import planner
from godwit.scheduler.counter import PORTS
from godwit.scheduler.plan import BuyNode, Plan, ReserveNode, StartAttempt, TerminateNode
from godwit.scheduler.reasons import Code
from godwit.scheduler.snapshot import Hold, Snapshot

from tests.scheduler.fleets import NOW, attempt, job, node, offer, world


def plan(snapshot: Snapshot) -> Plan:
    return planner.plan(snapshot, NOW, seed=1)


def starts(made: Plan) -> dict[str, list[str]]:
    return {a.job_id: [slot.node_id for slot in a.slots] for a in made.actions if isinstance(a, StartAttempt)}


def bought(made: Plan) -> list[str]:
    return [a.offer.key for a in made.actions if isinstance(a, BuyNode)]


def test_a_job_starts_on_a_ready_node_with_free_gpus() -> None:
    made = plan(world(jobs=[job("a")], nodes=[node("n1")]))
    assert starts(made) == {"a": ["n1"]}
    assert not bought(made)


def test_a_gang_gets_all_its_nodes_or_none() -> None:
    made = plan(world(jobs=[job("a", nodes=2)], nodes=[node("n1")]))
    assert starts(made) == {}


def test_a_gang_never_spans_two_fabric_domains() -> None:
    apart = [node("n1"), node("n2", offer(fabric_domain="f2"))]
    assert starts(plan(world(jobs=[job("a", nodes=2)], nodes=apart))) == {}


def test_a_gang_that_says_any_fabric_spans_providers() -> None:
    apart = [node("n1"), node("n2", offer(provider="nebius"))]
    made = plan(world(jobs=[job("a", nodes=2, fabric=Fabric.ANY)], nodes=apart))
    assert sorted(starts(made)["a"]) == ["n1", "n2"]


def test_two_jobs_share_a_node_without_sharing_a_gpu() -> None:
    made = plan(world(jobs=[job("a", gpus=4), job("b", gpus=4)], nodes=[node("n1")]))
    held = [gpu for a in made.actions if isinstance(a, StartAttempt) for slot in a.slots for gpu in slot.gpus]
    assert sorted(held) == list(range(8))


def test_two_heads_never_get_the_same_port() -> None:
    made = plan(world(jobs=[job(f"j{i}", gpus=1) for i in range(8)], nodes=[node("n1")]))
    ports = [a.port for a in made.actions if isinstance(a, StartAttempt)]
    assert len(set(ports)) == 8


def test_the_tightest_fit_wins_so_that_whole_nodes_stay_whole() -> None:
    busy = job("busy", gpus=4, state=JobState.RUNNING)
    fleet = [node("n1"), node("n2")]
    made = plan(world(jobs=[busy, job("a", gpus=4)], nodes=fleet, attempts=[attempt(busy, fleet[1])]))
    assert starts(made) == {"a": ["n2"]}


def test_a_sick_gpu_is_not_given_to_anybody() -> None:
    sick = node("n1")
    sick = replace(sick, gpus=(replace(sick.gpus[0], health=Health.SUSPECT), *sick.gpus[1:]))
    assert starts(plan(world(jobs=[job("a", gpus=8)], nodes=[sick]))) == {}


def test_a_job_without_gpus_takes_any_node_but_not_its_gpus() -> None:
    made = plan(world(jobs=[job("a", gpus=0)], nodes=[node("n1")]))
    assert [slot.gpus for a in made.actions if isinstance(a, StartAttempt) for slot in a.slots] == [()]


def test_higher_priority_and_interrupted_work_come_first() -> None:
    queue = [job("old"), job("hurt", state=JobState.RECOVERING, epoch=1, created_at=NOW), job("vip", priority=100)]
    assert starts(plan(world(jobs=queue, nodes=[node("n1")]))) == {"vip": ["n1"]}
    assert starts(plan(world(jobs=queue[:2], nodes=[node("n1")]))) == {"hurt": ["n1"]}


def test_the_cheapest_offer_that_fits_is_bought_and_reserved_for_the_job() -> None:
    market = [
        offer(provider="dear", price=30.0),
        offer(provider="fair", price=20.0),
        offer("small", gpu_count=4, price=1.0),
    ]
    made = plan(world(jobs=[job("a", nodes=2)], offers=market))
    assert bought(made) == ["fair/east/-/h100.8x/on-demand"] * 2
    assert all(a.job_id == "a" for a in made.actions if isinstance(a, BuyNode))


def test_only_what_a_gang_lacks_is_bought() -> None:
    made = plan(world(jobs=[job("a", nodes=2)], nodes=[node("n1")], offers=[offer()]))
    assert len(bought(made)) == 1
    assert [a.node_id for a in made.actions if isinstance(a, ReserveNode)] == ["n1"]


def test_nothing_is_bought_twice_while_nodes_are_on_their_way() -> None:
    coming = [node(f"n{i}", state=NodeState.REQUESTED, reserved_for="a", gpus=()) for i in (1, 2)]
    made = plan(world(jobs=[job("a", nodes=2)], nodes=coming, offers=[offer()]))
    assert made.actions == ()
    assert {refusal.code for refusal in made.refusals["a"]} == {Code.NOT_READY}  # type: ignore[index]


def test_a_node_that_comes_free_takes_the_place_of_one_on_its_way_and_is_not_given_back_meanwhile() -> None:
    coming = [node(f"n{i}", state=NodeState.PROVISIONING, reserved_for="a", gpus=()) for i in (1, 2)]
    free = node("n3", idle_since=NOW - 3_600)
    made = plan(world(jobs=[job("a", nodes=2)], nodes=[*coming, free], offers=[offer()]))
    kept = {one.node_id: one.job_id for one in made.actions if isinstance(one, ReserveNode)}
    assert (kept, len(made.actions)) == ({"n3": "a", "n2": None}, 2)
    two = [free, node("n4", idle_since=NOW - 3_600)]
    again = plan(world(jobs=[job("a", nodes=2)], nodes=[*coming, *two], offers=[offer()]))
    assert [[slot.node_id for slot in one.slots] for one in again.actions if isinstance(one, StartAttempt)] == [
        ["n3", "n4"]
    ]


def test_known_capacity_is_not_promised_twice() -> None:
    scarce = [offer(price=10.0, capacity=1), offer(provider="nebius", price=40.0)]
    made = plan(world(jobs=[job("a"), job("b")], offers=scarce))
    assert sorted(bought(made)) == ["lambda/east/-/h100.8x/on-demand", "nebius/east/-/h100.8x/on-demand"]


def test_a_held_offer_is_passed_over_until_its_time() -> None:
    held = offer(price=10.0)
    hold = Hold(held.key, NOW + 20, "refused: no capacity")
    made = plan(world(jobs=[job("a")], offers=[held, offer(provider="nebius", price=40.0)], holds=[hold]))
    assert bought(made) == ["nebius/east/-/h100.8x/on-demand"]


def test_a_provider_that_just_lost_a_node_is_the_last_choice_but_still_a_choice() -> None:
    lossy, other = offer(price=10.0), offer(provider="nebius", price=40.0)
    both = world(jobs=[job("a")], offers=[lossy, other], losses={"lambda": NOW - 10})
    assert bought(plan(both)) == [other.key]
    assert bought(plan(replace(both, offers=(lossy,)))) == [lossy.key]


def test_waiting_says_for_each_offer_why_and_when_it_is_tried_next() -> None:
    held, spot = offer(), offer("spotty", spot=True)
    hold = Hold(held.key, NOW + 20, "refused: no capacity")
    made = plan(world(jobs=[job("a", spot=Spot.NEVER)], offers=[held, spot], holds=[hold]))
    told = {refusal.subject: (refusal.code, refusal.retry_at) for refusal in made.refusals["a"]}  # type: ignore[index]
    assert told == {held.key: (Code.HELD, NOW + 20), spot.key: (Code.WRONG_MARKET, None)}
    assert made.wake_at is not None
    assert made.wake_at <= NOW + 20


def test_infra_restricts_nodes_and_offers_alike() -> None:
    only: dict[str, Any] = {"infra": (parse_infra("nebius"),)}
    made = plan(
        world(jobs=[job("a", **only)], nodes=[node("n1")], offers=[offer(), offer(provider="nebius", price=90.0)])
    )
    assert starts(made) == {}
    assert bought(made) == ["nebius/east/-/h100.8x/on-demand"]


def test_an_idle_node_is_released_after_the_idle_time_and_not_before() -> None:
    idle_s = world().policy.idle_after_s
    fleet = [node("young", idle_since=NOW - idle_s + 1), node("old", idle_since=NOW - idle_s)]
    made = plan(world(nodes=fleet))
    assert [a.node_id for a in made.actions if isinstance(a, TerminateNode)] == ["old"]
    assert made.wake_at == NOW + 1


def test_a_node_on_which_a_job_is_placed_is_not_released_in_the_same_plan() -> None:
    made = plan(world(jobs=[job("a")], nodes=[node("old", idle_since=NOW - 10_000)], offers=[offer()]))
    assert [type(action).__name__ for action in made.actions] == ["StartAttempt"]


def test_an_elastic_job_takes_more_nodes_where_they_are_free_and_buys_only_its_minimum() -> None:
    elastic = job("a", nodes_min=2, nodes_max=4)
    assert len(starts(plan(world(jobs=[elastic], nodes=[node(f"n{i}") for i in range(3)])))["a"]) == 3
    assert len(bought(plan(world(jobs=[elastic], offers=[offer()])))) == 2


def test_a_preview_tells_what_a_job_would_get_without_settling_anything() -> None:
    lost: list[Offer] = [offer()]
    snapshot = world(nodes=[node("n1", last_seen_at=NOW - 100)], offers=lost)
    made = planner.preview(snapshot, job("new", nodes=2), NOW, 1)
    assert {type(a).__name__ for a in made.actions} <= {"BuyNode", "ReserveNode", "StartAttempt"}


def test_a_node_on_its_way_that_nobody_waits_for_any_more_serves_the_next_job() -> None:
    coming = node("n1", state=NodeState.PROVISIONING, gpus=())
    made = plan(world(jobs=[job("a")], nodes=[coming], offers=[offer()]))
    assert bought(made) == []
    assert [(a.node_id, a.job_id) for a in made.actions if isinstance(a, ReserveNode)] == [("n1", "a")]


def test_no_capacity_says_when_the_offers_are_read_again() -> None:
    sold_out = offer(capacity=0, seen_at=NOW - 5)
    (refusal,) = plan(world(jobs=[job("a")], offers=[sold_out])).refusals["a"]  # type: ignore[index]
    assert (refusal.code, refusal.retry_at) == (Code.NO_CAPACITY, NOW + 10)


def test_a_gang_that_has_waited_long_gets_nodes_kept_and_is_told() -> None:
    busy = job("busy", state=JobState.RUNNING)
    fleet = [node("n1"), node("n2")]
    queue = [job("gang", nodes=2, created_at=NOW - 1_000), job("small", gpus=1)]
    made = plan(world(jobs=[busy, *queue], nodes=fleet, attempts=[attempt(busy, fleet[1])]))
    assert starts(made) == {}
    assert made.refusals["gang"][0].code is Code.KEPT  # type: ignore[index]
    assert Code.RESERVED in {refusal.code for refusal in made.refusals["small"]}  # type: ignore[index]
    fresh = [replace(queue[0], created_at=NOW - 10), queue[1]]
    made = plan(world(jobs=[busy, *fresh], nodes=fleet, attempts=[attempt(busy, fleet[1])]))
    assert starts(made) == {"small": ["n1"]}


def test_a_small_job_waits_for_the_rest_of_a_node_that_comes_for_another() -> None:
    made = plan(world(jobs=[job("a", gpus=4), job("b", gpus=4), job("c", gpus=4)], offers=[offer()]))
    assert len(bought(made)) == 2
    coming = [node("n1", state=NodeState.PROVISIONING, reserved_for="a", gpus=())]
    made = plan(world(jobs=[job("a", gpus=4), job("b", gpus=4)], nodes=coming, offers=[offer()]))
    assert bought(made) == []
    assert "beside job a" in made.refusals["b"][0].message  # type: ignore[index]


def test_nodes_without_a_fabric_are_not_sold_to_a_gang_that_needs_one() -> None:
    made = plan(world(jobs=[job("a", nodes=2)], offers=[offer(fabric_domain=None)]))
    assert bought(made) == []
    assert {refusal.code for refusal in made.refusals["a"]} == {Code.NO_FABRIC}  # type: ignore[index]


def test_two_halves_share_a_gpu_and_a_third_takes_the_next() -> None:
    half = GpuAsk(1, ("H100",), milli=500)
    queue = [replace(one, spec=replace(one.spec, resources=replace(one.spec.resources, gpus=half)))
             for one in (job("a"), job("b"), job("c"))]  # fmt: skip
    made = plan(world(jobs=queue, nodes=[node("n1")]))
    held = [(slot.gpus, slot.gpu_milli) for a in made.actions if isinstance(a, StartAttempt) for slot in a.slots]
    assert sorted(held) == [((0,), 500), ((0,), 500), ((1,), 500)]
    running = [replace(one, state=JobState.RUNNING) for one in queue[:2]]
    fleet = [node("n1", offer(gpu_count=1))]
    slots = [replace(attempt(one, fleet[0]), slots=(Slot(fleet[0].id, 0, (0,), "", gpu_milli=500),)) for one in running]
    assert starts(plan(world(jobs=[*running, queue[2]], nodes=fleet, attempts=slots))) == {}
    assert starts(plan(world(jobs=[running[0], queue[2]], nodes=fleet, attempts=slots[:1]))) == {"c": ["n1"]}


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        (NodeState.JOINING, "wait until it is ready"),
        (NodeState.CORDONED, "wait for its repair (`godwit incidents`), or let work start on it (`godwit uncordon`)"),
        (NodeState.LOST, "wait until its agent is heard again"),
        (NodeState.TERMINATING, "it goes away: wait for others"),
    ],
)
def test_what_is_not_ready_is_told_with_what_would_open_it(state: NodeState, advice: str) -> None:
    away = node("n1", state=state, reserved_for=JobId("b"), state_since=NOW, last_seen_at=NOW)
    told = plan(world(jobs=[job("a"), job("b", gpus=0, cpus=500)], nodes=[away], serving_since=NOW)).refusals
    assert [(one.message, one.would_help) for one in told[JobId("a")] if one.code is Code.NOT_READY] == [
        (f"is {state}", advice)
    ]


def test_a_node_kept_for_the_first_of_the_queue_is_not_said_to_be_bought_for_it() -> None:
    host, runs = node("n1"), job("runs", gpus=4, state=JobState.RUNNING, epoch=1)
    queue = [job("first", created_at=0.0), job("next", gpus=2)]
    told = plan(world(jobs=[runs, *queue], nodes=[host], attempts=[attempt(runs, host)])).refusals[JobId("next")]
    assert [one.message for one in told if one.code is Code.RESERVED] == ["is kept for job first"]


def test_no_two_heads_of_one_node_get_the_same_ports_however_many_run() -> None:
    host = node("n1", offer(cpus=2_000))
    heads = [job(f"r{i}", gpus=0, state=JobState.RUNNING, epoch=1) for i in range(1_300)]
    there = [attempt(head, host, port=PORTS[i]) for i, head in enumerate(heads)]
    queue = [job(f"q{i}", gpus=0) for i in range(5)]
    made = plan(world(jobs=[*heads, *queue], nodes=[host], attempts=there))
    given = [action.port for action in made.actions if isinstance(action, StartAttempt)]
    assert len({*given, *(one.port for one in there)}) == 1_305


def test_a_machine_that_reports_less_memory_than_was_sold_is_not_bought_again() -> None:
    asked = job("a", memory_gib=1_800.0)
    fleet = [node("n1", reserved_for="a", memory_gib=1_790.0, cpus=199)]
    made = plan(world(jobs=[asked], nodes=fleet, offers=[offer()]))
    assert starts(made) == {"a": ["n1"]}
    assert bought(made) == []


@pytest.mark.parametrize("state", [NodeState.READY, NodeState.JOINING])
def test_a_node_whose_job_started_elsewhere_serves_the_next_instead_of_a_purchase(state: NodeState) -> None:
    runs = job("runs", state=JobState.RUNNING, epoch=1)
    fleet = [node("n1"), node("n2", state=state, reserved_for="runs")]
    made = plan(world(jobs=[runs, job("next")], nodes=fleet, attempts=[attempt(runs, fleet[0])], offers=[offer()]))
    assert bought(made) == []
    kept = [(a.node_id, a.job_id) for a in made.actions if isinstance(a, ReserveNode)]
    assert kept[0] == ("n2", None)
    assert starts(made) == {"next": ["n2"]} if state is NodeState.READY else kept[1:] == [("n2", "next")]
