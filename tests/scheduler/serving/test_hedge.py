"""Spot replicas with on-demand cover: spread over zones, never fewer than wanted, no more on demand than spot lacks."""

from collections import Counter
from dataclasses import replace

import pytest
from godwit.domain.ids import AttemptId, JobId, ProjectId
from godwit.domain.jobs import Job, JobKind, JobSpec, JobState, Resources, Spot
from godwit.domain.resources import Infra
from godwit.domain.services import Replica, ReplicaState
from godwit.scheduler.serving import hedge
from godwit.scheduler.serving.actions import AddReplica
from godwit.scheduler.serving.view import View, Zone
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import spot_services
from benchmarks.spot_services import Capacity
from tests.scheduler.serving.test_steps import World


def zones(count: int, passed: int = 0) -> tuple[Zone, ...]:
    return tuple(Zone(Infra("cloud", f"zone-{n}"), 1.0 + n, n < passed) for n in range(count))


@given(target=st.integers(0, 50), spare=st.integers(0, 10), ready=st.integers(0, 70))
def test_on_demand_covers_what_spot_lacks_and_no_more(target: int, spare: int, ready: int) -> None:
    cover = hedge.on_demand(target, spare, ready)
    assert 0 <= cover <= target
    assert ready + cover >= target
    assert cover == 0 or ready < target + spare


@given(target=st.integers(0, 50), spare=st.integers(0, 10), ready=st.integers(0, 70), part=st.floats(0, 1))
def test_what_one_zone_gave_lately_may_go_at_once_and_enough_are_left(
    target: int, spare: int, ready: int, part: float
) -> None:
    risk = round(part * ready)
    cover = hedge.on_demand(target, spare, ready, risk)
    assert hedge.on_demand(target, spare, ready) <= cover <= target
    assert cover + ready - risk >= target
    if ready >= target + spare and risk <= spare:
        assert cover == 0, "spares cover that already"


def test_the_zone_that_gave_most_lately_is_the_risk_and_what_has_settled_is_none() -> None:
    given_at = [("a", 0.0), ("a", 400.0), ("b", 400.0), ("b", 500.0), ("c", 500.0)]
    assert hedge.at_risk(given_at, 550.0) == 2
    assert hedge.at_risk(given_at, 1_050.0) == 1
    assert hedge.at_risk(given_at, 2_000.0) == 0
    assert hedge.at_risk([], 0.0) == 0


@given(count=st.integers(1, 6), wanted=st.integers(0, 30))
def test_spot_replicas_are_spread_evenly_over_zones(count: int, wanted: int) -> None:
    held = Counter[str]()
    for _ in range(wanted):
        zone = hedge.next_zone(hedge.open_zones(zones(count)), held)
        assert zone is not None
        held[str(zone.place)] += 1
    counts = [held[str(zone.place)] for zone in zones(count)]
    assert max(counts) - min(counts) <= 1


@given(count=st.integers(0, 6), passed=st.integers(0, 6))
def test_zones_that_refuse_are_passed_over_while_there_are_two_others(count: int, passed: int) -> None:
    found = hedge.open_zones(zones(count, passed))
    assert len(found) == (count - passed if count - passed >= hedge.ZONES_MIN else count)


class Hedged(World):
    """The world of services, with one that has a spare replica on spot."""

    def __init__(self, count: int, spare: int) -> None:
        super().__init__(count)
        newest = self.service.newest
        spec = replace(newest.spec, serving=replace(newest.serving, spare=spare))
        self.service = replace(self.service, versions=(replace(newest, spec=spec),))

    def view(self) -> View:
        seen = replace(super().view(), zones=zones(3))
        placed = {key: one for key, one in seen.attempts.items() if self.jobs[key].state is JobState.RUNNING}
        return replace(seen, attempts=placed)

    def carry_out(self, action: object) -> None:
        super().carry_out(action)
        if isinstance(action, AddReplica):
            newest = max(self.jobs)
            places = () if action.infra is None else (action.infra,)
            resources = Resources(infra=places, spot=action.spot or Spot.AUTO)
            self.jobs[newest] = replace(self.jobs[newest], spec=replace(self.jobs[newest].spec, resources=resources))

    def on(self, side: Spot) -> list[str]:
        """Replicas that are to stay on spot, or on demand."""
        alive = {ReplicaState.STARTING, ReplicaState.READY}
        return [
            name
            for name, one in self.replicas.items()
            if one.state in alive and self.jobs[one.id].spec.resources.spot is side
        ]


@given(count=st.integers(0, 5), spare=st.integers(0, 2), lost=st.lists(st.integers(0, 6), max_size=6))
def test_whatever_spot_loses_is_covered_on_demand_until_spot_is_back(count: int, spare: int, lost: list[int]) -> None:
    world = Hedged(count, spare)
    world.settle()
    assert len(world.on(Spot.NEVER)) == count, "nothing is ready yet, so all is covered"
    world.run(5)
    for how_many in lost:
        for name in world.on(Spot.ONLY)[:how_many]:
            world.end(name, JobState.FAILED)
        world.now += 1_000.0
        world.settle()
        spot = [name for name in world.on(Spot.ONLY) if world.replicas[name].state is ReplicaState.READY]
        assert len(world.on(Spot.NEVER)) == hedge.on_demand(count, spare, len(spot)), "what was left has settled"
        world.run(5)
    world.now += hedge.SETTLES_S
    world.run(2)
    assert (len(world.on(Spot.ONLY)), world.on(Spot.NEVER)) == (count + spare if count else 0, [])


def test_a_spot_replica_that_no_zone_takes_goes_to_another_zone() -> None:
    world = Hedged(1, 0)
    world.settle()
    waits = world.on(Spot.ONLY)[0]
    world.jobs[JobId(waits)] = replace(world.jobs[JobId(waits)], state=JobState.QUEUED)
    place = world.jobs[JobId(waits)].spec.resources.infra[0]
    refused = tuple(replace(zone, is_passed_over=zone.place == place) for zone in zones(3))
    view = replace(world.view(), zones=refused)
    assert [one.name for one in hedge.surplus(view, 1, 1, 0, 0.0)] == [waits]


def test_a_replica_whose_job_is_not_known_counts_on_demand() -> None:
    job = Job(JobId("j"), ProjectId("default"), JobSpec("a", "b", JobKind.SERVICE), JobState.RUNNING, 0.0, 0.0)
    replica = Replica(job.id, World(1).service.id, "a", 1, 0, ReplicaState.READY, 0.0, 0.0, AttemptId("a"))
    view = replace(World(1).view(), replicas=(replica,))
    assert len(hedge.sides(view, 1).on_demand) == 1


@pytest.mark.parametrize("ready_after_s", [60.0, 180.0])
def test_the_replay_of_capacity_that_is_always_there_costs_spot_and_waits_once(ready_after_s: float) -> None:
    always = Capacity(("a", "b"), [[9, 9]] * 1_000, 300.0)
    run = spot_services.replay(always, 4, 1, ready_after_s)
    assert run.whole == pytest.approx(1 - ready_after_s / 300_000)
    spot = 5 / 4 * spot_services.SPOT_USD / spot_services.ON_DEMAND_USD
    unsettled = 2 * 2 / 4  # two looks of ten minutes, in which the zone with three of five might take them back
    assert run.cost == pytest.approx(spot + (1 + unsettled) / 1_000)


def test_a_notice_starts_what_takes_a_replicas_place_while_that_serves_on() -> None:
    gone_once = Capacity(("a", "b"), [[2, 2]] * 50 + [[0, 2]] + [[2, 2]] * 49, 300.0)
    for notice_s, missing_s in ((0.0, 180.0), (60.0, 130.0), (120.0, 70.0), (600.0, 0.0)):
        run = spot_services.replay(gone_once, 2, 0, 180.0, notice_s)
        assert run.whole == pytest.approx(1 - (180.0 + missing_s) / 30_000)


def test_the_replay_of_capacity_that_is_never_there_is_all_on_demand() -> None:
    run = spot_services.replay(Capacity(("a", "b"), [[0, 0]] * 100, 300.0), 4)
    assert run.cost == pytest.approx(1.0)
    assert run.whole == pytest.approx(1 - 180 / 30_000)
