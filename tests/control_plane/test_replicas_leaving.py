"""Replicas whose place is needed or suspect: another one serves first, requests end, and only then does the replica."""

from dataclasses import replace

import pytest
from godwit.domain.ids import AttemptId, IncidentId, JobId
from godwit.domain.services import Replica
from godwit.domain.wire.notices import NoticeSeen
from godwit.scheduler import departures
from godwit.scheduler.bounds import Bounds
from godwit.scheduler.giving_way import Preemption
from godwit.scheduler.plan import AskToLeave, Evict

from tests.control_plane import caring
from tests.control_plane.replicated import Services
from tests.control_plane.world import World

pytestmark = pytest.mark.embedded


@pytest.fixture
def services(world: World) -> Services:
    """The services of a world without any."""
    return Services(world)


def serving_one(services: Services) -> Replica:
    """A service with one replica that has a request in flight."""
    services.put(drain="1m")
    services.come_up()
    (replica,) = services.replicas()
    busy(services, replica)
    return replica


def busy(services: Services, replica: Replica, count: int = 1) -> None:
    services.signal(chat={"replicas": [{"id": str(replica.attempt_id), "in_flight": count}]})


def pass_time(services: Services, seconds: float) -> None:
    services.world.clock.advance(seconds)
    for agent in services.world.agents:
        agent.beat()
    services.world.plan()
    services.loop.step()


def ask(services: Services, replica: Replica, within_s: float, incident: IncidentId | None = None) -> None:
    world, attempt = services.world, services.world.attempt(replica.id)
    by = world.clock.now() + within_s
    caring.carry_out(world, AskToLeave(attempt.id, replica.id, by, "its GPU is suspect", incident_id=incident))
    services.loop.step()


def test_another_one_serves_before_a_replica_leaves_and_its_requests_end_first(
    services: Services, world: World
) -> None:
    before = serving_one(services)
    ask(services, before, 600.0)
    assert services.states() == {"chat-0": "ready", "chat-1": "starting"}
    services.come_up()
    services.come_up()
    assert services.states() == {"chat-0": "draining", "chat-1": "ready"}
    busy(services, before)
    pass_time(services, 30.0)
    assert world.attempt(before.id).outcome is None, "a request is in flight"
    services.signal(chat={})
    world.plan()
    assert world.attempt(before.id).outcome == "cancelled"
    assert any("its GPU is suspect" in event.reason for event in world.events("replica.leaves"))


def test_who_is_not_replaced_in_time_is_told_to_stop_and_comes_back_elsewhere(services: Services, world: World) -> None:
    before = serving_one(services)
    ask(services, before, 100.0)
    pass_time(services, 99.0)
    assert world.attempt(before.id).outcome is None
    assert services.states()["chat-0"] == "ready", "the last one serves on"
    pass_time(services, 1.0)
    assert world.attempt(before.id).outcome == "evicted"
    assert services.urls() == []
    assert world.job(before.id).cancel_requested, "another one has its place"


def test_asked_twice_a_replica_goes_by_the_nearer_time(services: Services, world: World) -> None:
    before = serving_one(services)
    for within_s in (300.0, 100.0, 500.0):
        ask(services, before, within_s)
    assert world.attempt(before.id).leaves_by == world.clock.now() + 100.0
    assert len(world.events("job.preempted")) == 2


def test_a_suspect_gpu_gives_a_replica_time_and_a_wrong_one_none(services: Services, world: World) -> None:
    before = serving_one(services)
    node_id = services.agent_of(before).node_id
    services.agent_of(before).beat(services.agent_of(before).found("xid:48"))
    begun = caring.opened(world, node_id, 0)
    ask(services, before, departures.EMPTIES_WITHIN_S, begun.id)
    assert world.attempt(before.id).outcome is None
    assert [event.kind for event in caring.timeline(world, begun.id)].count("incident.eviction") == 1
    attempt_id = AttemptId(world.attempt(before.id).id)
    caring.carry_out(world, Evict(attempt_id, JobId(before.id), begun.id, saves=False, reason="its memory is wrong"))
    services.loop.step()
    assert world.attempt(before.id).outcome == "evicted"
    assert services.urls() == [], "what it answers may be wrong"


def test_a_replica_that_gives_way_drains_before_the_other_gets_its_place(services: Services, world: World) -> None:
    policy = replace(world.context.policy, bounds=Bounds(max_nodes=1), preemption=Preemption(min_run_s=60.0))
    world.context = replace(world.context, policy=policy)
    before = serving_one(services)
    pass_time(services, 61.0)
    busy(services, before)
    urgent = world.submit("urgent", priority="high")
    world.plan()
    services.loop.step()
    attempt = world.attempt(before.id)
    assert (attempt.outcome, attempt.yields_to) == (None, urgent)
    assert attempt.leaves_by == world.clock.now() + departures.GIVES_WAY_WITHIN_S
    assert len(services.urls()) == 1, "nobody else serves yet"
    pass_time(services, departures.GIVES_WAY_WITHIN_S)
    assert world.attempt(before.id).outcome == "preempted"
    services.agent_of(before).take_on()
    world.plan()
    assert world.job(urgent).state == "starting"


def test_a_notice_takes_a_replica_out_of_the_routes_while_its_requests_can_still_end(
    services: Services, world: World
) -> None:
    services.put(replicas=2, drain="1m", resources={"gpus": "H100:8"})
    services.come_up()
    services.come_up()
    going = services.replicas()[0]
    agent = services.agent_of(going)
    busy(services, going)
    agent.beat(agent.observed(NoticeSeen, source="ec2", within_s=120.0, reason="it is taken back"))
    pass_time(services, 49.0)
    assert len(services.urls()) == 2, "it serves on until another one does"
    busy(services, going)
    pass_time(services, 1.0)
    assert (len(services.urls()), len(services.urls("draining"))) == (1, 1)
    busy(services, going)
    pass_time(services, 59.0)
    assert world.attempt(going.id).outcome is None
    pass_time(services, 1.0)
    assert world.attempt(going.id).outcome is not None
