"""What providers list becomes what nodes are; what nobody owns is ended, and what is not ours is left alone."""

from dataclasses import replace

import pytest
from godwit.control_plane.reconcilers.instances import InstanceWatch
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.intents import IntentKind
from godwit.domain.nodes import NodeState
from godwit.domain.offers import InstanceState
from godwit.providers.protocol import LaunchRequest
from godwit.providers.simulated.faults import Faults

from tests.control_plane.world import World

CHEAP = ProviderName("cheap")


def buy(world: World, token: str, owner: str) -> str:
    """A machine that no row of ours knows of."""
    provider = world.providers[CHEAP]
    return provider.launch(LaunchRequest(provider.offers()[0], token, owner, "#!/bin/sh\n")).id


def pass_time(world: World, seconds: int, *heard: str) -> None:
    """Let watches work; nodes whose ids are `heard` beat."""
    agents = [agent for agent in world.agents if agent.node_id in heard]
    for _ in range(seconds):
        world.clock.advance(1)
        for agent in agents:
            agent.beat()
        world.watch()


def test_a_node_follows_its_machine_as_it_boots(embedded: World) -> None:
    embedded.submit()
    embedded.turn()
    assert embedded.nodes()[0].state is NodeState.PROVISIONING
    embedded.clock.advance(1)
    embedded.watch()
    assert embedded.nodes()[0].state is NodeState.JOINING


def test_a_machine_that_its_provider_calls_failed_interrupts_its_job_and_is_given_back(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    embedded.clouds["cheap"].lose(embedded.machines()[0])
    pass_time(embedded, 6)
    embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.TERMINATING
    assert embedded.job(job_id).state == "recovering"
    assert [n.offer.provider for n in embedded.nodes() if n.state is NodeState.REQUESTED] == ["dear"]


def test_a_machine_that_somebody_stopped_counts_as_lost_and_is_ended_not_started_again(embedded: World) -> None:
    job_id, (agent,) = embedded.run()

    class Stopped:
        """A cloud whose console has a button to stop machines, which keeps their disks on the bill."""

        def __init__(self) -> None:
            self._under = embedded.providers[CHEAP]
            self.name = CHEAP

        def __getattr__(self, name: str) -> object:
            return getattr(self._under, name)

        def instances(self) -> list[object]:
            return [replace(i, state=InstanceState.STOPPED, detail="STOPPED") for i in self._under.instances()]

    embedded.watch_instead(Stopped())
    pass_time(embedded, 1)
    (off,) = embedded.events("node.off")
    assert "STOPPED" in off.reason
    embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.TERMINATING
    assert embedded.job(job_id).state == "recovering"
    machine = embedded.node(agent.node_id).instance_id
    embedded.execute()
    pass_time(embedded, 1)
    assert machine not in embedded.machines()


def test_an_instance_that_is_gone_from_the_list_terminates_its_node_after_a_grace(embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clouds["cheap"].set_faults(Faults(list_lag_s=3_600))
    pass_time(embedded, 9)
    assert embedded.node(agent.node_id).state is NodeState.READY
    pass_time(embedded, 3)
    node = embedded.node(agent.node_id)
    assert (node.state, node.gone) == (NodeState.TERMINATED, True)


def test_a_stale_list_does_not_lose_a_node_that_is_heard(embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clouds["cheap"].set_faults(Faults(list_lag_s=3_600))
    pass_time(embedded, 60, agent.node_id)
    embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.READY


def test_an_instance_that_is_listed_again_within_the_grace_is_not_gone(embedded: World) -> None:
    _, (agent,) = embedded.run()
    for _ in range(3):
        embedded.clouds["cheap"].set_faults(Faults(list_lag_s=3_600))
        pass_time(embedded, 8)
        embedded.clouds["cheap"].set_faults(Faults())
        pass_time(embedded, 1)
    assert embedded.node(agent.node_id).state is NodeState.READY


def test_a_provider_that_is_away_changes_nothing_and_says_so(embedded: World) -> None:
    _, (agent,) = embedded.run()
    embedded.clouds["cheap"].set_faults(Faults(unavailable=True))
    pass_time(embedded, 60)
    assert embedded.node(agent.node_id).state is NodeState.READY
    assert "unavailable" in embedded.watches["cheap"].trouble


def test_an_orphan_with_our_mark_is_ended_and_told_of_once(embedded: World) -> None:
    orphan = buy(embedded, "intent-nobody", "godwit-test")
    pass_time(embedded, 3)
    assert embedded.machines() == []
    assert [e.subject_id for e in embedded.events("node.orphan")] == [orphan]


def test_who_is_not_sure_to_lead_ends_no_orphan(embedded: World) -> None:
    buy(embedded, "intent-nobody", "godwit-test")
    leads = [False]
    watch = InstanceWatch(replace(embedded.context, leads=lambda: leads[0]), embedded.providers[CHEAP])
    watch.step()
    assert embedded.events("node.orphan") == []
    leads[0] = True
    watch.step()
    assert len(embedded.events("node.orphan")) == 1


def test_a_foreign_instance_is_left_alone(embedded: World) -> None:
    foreign = [buy(embedded, "t1", "another-control-plane"), buy(embedded, "t2", "")]
    pass_time(embedded, 30)
    assert embedded.machines() == foreign
    assert embedded.events("node.orphan") == []


def test_an_instance_of_a_node_that_is_over_is_ended(embedded: World) -> None:
    embedded.clouds["cheap"].set_faults(Faults(lose_answers=1))
    embedded.submit()
    embedded.plan_only()
    embedded.execute()
    embedded.unconfigure("cheap")
    embedded.clock.advance(1)
    embedded.execute()
    assert embedded.nodes(final=True)[0].state is NodeState.FAILED
    assert len(embedded.machines()) == 1
    pass_time(embedded, 2)
    assert embedded.machines() == []


def test_a_second_machine_with_a_living_nodes_token_is_ended(embedded: World) -> None:
    embedded.submit()
    (agent,) = embedded.boot()
    (node,) = embedded.nodes()

    class Twice:
        """A cloud without client tokens, on which a launch took effect twice."""

        def __init__(self) -> None:
            self._under = embedded.providers[CHEAP]
            self.name = CHEAP
            self.ended: list[str] = []

        def __getattr__(self, name: str) -> object:
            return getattr(self._under, name)

        def instances(self) -> list[object]:
            (first,) = self._under.instances()
            second = replace(first, id=InstanceId("i-second"))
            return [second, first] if "i-second" not in self.ended else [first]

        def terminate(self, instance_id: str) -> None:
            self.ended.append(instance_id)

    cloud = Twice()
    embedded.watch_instead(cloud)
    pass_time(embedded, 3, agent.node_id)
    assert cloud.ended == ["i-second"]
    assert embedded.node(node.id).instance_id == node.instance_id
    assert embedded.node(node.id).state is NodeState.READY


def test_a_node_is_terminated_only_when_its_provider_says_so(embedded: World) -> None:
    embedded.submit()
    (agent,) = embedded.boot()
    embedded.cancel("digits")
    for _ in range(301):
        embedded.clock.advance(1)
        agent.take_on()
        agent.beat()
        embedded.plan()
    assert embedded.node(agent.node_id).state is NodeState.TERMINATING
    embedded.execute()
    assert embedded.node(agent.node_id).state is NodeState.TERMINATING
    pass_time(embedded, 1)
    assert embedded.node(agent.node_id).state is NodeState.TERMINATED
    assert embedded.machines() == []


def test_an_end_that_a_provider_forgot_is_asked_for_again(embedded: World, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.submit()
    (agent,) = embedded.boot()
    embedded.cancel("digits")
    with monkeypatch.context() as patch:
        patch.setattr(embedded.clouds["cheap"], "terminate", lambda _instance_id: {})
        pass_time(embedded, 301)
        embedded.plan()
        embedded.execute()
        pass_time(embedded, 30)
        embedded.execute()
    asked = embedded.intents(IntentKind.TERMINATE_NODE, agent.node_id)
    assert 2 <= len(asked) <= 5
    assert "still running" in asked[-1].reason


def test_a_machine_that_is_lost_makes_its_provider_the_last_choice_for_a_while(embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    pass_time(embedded, 5)
    embedded.plan()
    pass_time(embedded, 14)
    embedded.plan()
    assert embedded.job(job_id).state == "recovering"
    assert [n.offer.provider for n in embedded.nodes() if n.id != agent.node_id] == ["dear"]


def test_offers_stay_as_they_were_while_their_provider_is_away(embedded: World) -> None:
    embedded.read_offers()
    before = embedded.providers_offers("cheap")
    embedded.clouds["cheap"].set_faults(Faults(unavailable=True))
    embedded.read_offers()
    assert embedded.providers_offers("cheap") == before != []
