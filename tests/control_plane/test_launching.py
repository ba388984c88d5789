"""No machine is paid for without a row that knows of it, and none twice: whatever is lost or killed in between."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from godwit.control_plane.executors.launching import LAUNCH_LAG_S, Executor
from godwit.control_plane.reconcilers.instances import InstanceWatch
from godwit.domain.errors import ProviderUnavailable, UnknownOutcome
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.intents import IntentKind, IntentState
from godwit.domain.nodes import NodeState
from godwit.domain.offers import Instance
from godwit.providers.protocol import LaunchRequest, Provider
from godwit.providers.simulated.faults import Faults

from tests.control_plane.faulty import Fatal, Forgetful, Killed, MortalDatabase, MortalProvider
from tests.control_plane.world import World


def settled(world: World, turns: int = 40) -> None:
    """Let the executor and the watches work for a while."""
    for _ in range(turns):
        world.execute()
        world.watch()
        world.clock.advance(1)


def use(world: World, make: Callable[[Provider], Provider]) -> Provider:
    """Put a provider in front of the cheap cloud."""
    name = ProviderName("cheap")
    wrapped = make(world.context.providers[name])
    world.context = replace(world.context, providers={**world.context.providers, name: wrapped})
    world.watches[name] = InstanceWatch(world.context, wrapped)
    return wrapped


def test_a_launch_tags_its_machine_with_its_intent_and_the_identity(embedded: World) -> None:
    embedded.submit()
    embedded.turn()
    (node,) = embedded.nodes()
    (intent,) = embedded.intents(IntentKind.LAUNCH_NODE, node.id)
    (instance,) = embedded.context.providers[ProviderName("cheap")].instances()
    assert (instance.token, instance.owner, instance.id) == (intent.id, "godwit-test", node.instance_id)
    assert (intent.state, node.state) == (IntentState.DONE, NodeState.PROVISIONING)


def test_a_launch_whose_answer_is_lost_is_found_by_its_token(embedded: World) -> None:
    embedded.clouds["cheap"].set_faults(Faults(lose_answers=1))
    embedded.submit()
    embedded.plan_only()
    embedded.execute()
    assert embedded.nodes()[0].state is NodeState.REQUESTED
    embedded.clock.advance(1)
    embedded.execute()
    assert embedded.nodes()[0].instance_id == embedded.machines()[0]
    assert len(embedded.machines()) == 1


def test_a_launch_whose_answer_is_lost_is_not_repeated_while_lists_lag(embedded: World) -> None:
    cloud = Forgetful(embedded.providers[ProviderName("cheap")])
    use(embedded, lambda _: cloud)
    cloud.lose_answers, cloud.lag = 1, 3
    embedded.submit()
    embedded.plan_only()
    settled(embedded)
    assert cloud.sold == 1
    assert [n.instance_id for n in embedded.nodes()] == embedded.machines()


def test_a_launch_that_never_happened_is_repeated_once_lists_have_had_time_to_show_it(embedded: World) -> None:
    class Silent(Forgetful):
        def launch(self, request: LaunchRequest) -> Instance:
            if self.lose_answers:
                self.lose_answers -= 1
                raise UnknownOutcome("no answer came")
            return super().launch(request)

    cloud = Silent(embedded.providers[ProviderName("cheap")])
    use(embedded, lambda _: cloud)
    cloud.lose_answers = 1
    embedded.submit()
    embedded.plan_only()
    settled(embedded)
    assert cloud.sold == 1
    assert embedded.nodes()[0].instance_id == embedded.machines()[0]


def test_a_cloud_that_certainly_did_nothing_is_asked_again_soon(embedded: World) -> None:
    embedded.clouds["cheap"].set_faults(Faults(fail_launches=2))
    embedded.submit()
    embedded.plan_only()
    settled(embedded, turns=4)
    assert len(embedded.machines()) == 1


def test_a_refusal_holds_the_offer_and_the_next_one_is_bought(embedded: World) -> None:
    embedded.clouds["cheap"].set_faults(Faults(refuse_capacity={"*": -1}))
    embedded.submit()
    embedded.turn()
    refused, bought = embedded.nodes(final=True)
    assert (refused.offer.provider, refused.state) == ("cheap", NodeState.FAILED)
    assert "no capacity" in refused.detail
    assert (bought.offer.provider, bought.state) == ("dear", NodeState.REQUESTED)


def test_a_cloud_that_stays_away_gives_the_next_offer_its_chance(embedded: World) -> None:
    embedded.submit()
    embedded.plan_only()
    embedded.clouds["cheap"].set_faults(Faults(unavailable=True))
    for _ in range(120):
        embedded.execute()
        embedded.plan()
        embedded.clock.advance(1)
    failed = embedded.nodes(final=True)[0]
    assert (failed.state, failed.offer.provider) == (NodeState.FAILED, "cheap")
    assert [n.offer.provider for n in embedded.nodes()] == ["dear"]


def test_a_launch_at_a_provider_that_was_taken_out_of_the_configuration_fails_its_node(embedded: World) -> None:
    embedded.submit()
    embedded.plan_only()
    embedded.unconfigure("cheap")
    embedded.execute()
    (node,) = embedded.nodes(final=True)
    assert node.state is NodeState.FAILED
    assert "not configured" in node.detail


def test_a_node_that_is_ended_before_its_launch_was_answered_leaves_no_machine(embedded: World) -> None:
    embedded.clouds["cheap"].set_faults(Faults(lose_answers=1))
    embedded.submit()
    embedded.plan_only()
    embedded.execute()
    embedded.clock.advance(181)
    embedded.plan()
    (node,) = (n for n in embedded.nodes() if n.offer.provider == "cheap")
    assert node.state is NodeState.TERMINATING
    settled(embedded)
    assert embedded.node(node.id).state is NodeState.TERMINATED
    assert embedded.clouds["cheap"].live() == []


def test_a_node_whose_launch_was_never_tried_is_terminated_without_asking_a_cloud_to(embedded: World) -> None:
    embedded.submit()
    embedded.plan_only()
    embedded.clock.advance(181)
    embedded.plan()
    node = embedded.nodes()[0]
    embedded.execute()
    assert embedded.node(node.id).state is NodeState.TERMINATED
    assert embedded.clouds["cheap"].live() == []


def test_a_node_whose_launch_vanished_is_terminated_only_after_lists_had_time_to_show_it(embedded: World) -> None:
    embedded.clouds["cheap"].set_faults(Faults(lose_answers=1, list_lag_s=3_600))
    embedded.submit()
    embedded.plan_only()
    embedded.execute()
    embedded.clock.advance(181)
    embedded.plan()
    node = embedded.nodes()[0]
    settled(embedded, turns=30)
    assert embedded.node(node.id).state is NodeState.TERMINATING
    settled(embedded, turns=60)
    assert embedded.node(node.id).state is NodeState.TERMINATED
    embedded.clouds["cheap"].set_faults(Faults())
    settled(embedded, turns=2)
    assert embedded.clouds["cheap"].live() == [], "and what turns up even later is nobody's"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("at", range(1, 13))
def test_an_executor_that_dies_at_any_point_leaves_one_machine_per_node(embedded: World, at: int, seed: int) -> None:
    """Dies at the `at`-th touch of the world, is started anew, and again: the answer is the same."""
    rng = random.Random(seed)
    embedded.submit(nodes=2)
    embedded.plan_only()
    plain = embedded.context
    for deaths in range(4):
        fatal = Fatal(at if deaths == 0 else rng.randint(1, 12))
        mortal: dict[ProviderName, Provider] = {
            name: MortalProvider(provider, fatal) for name, provider in plain.providers.items()
        }
        executor = Executor(replace(plain, db=MortalDatabase(plain.db, fatal), providers=mortal))
        try:
            executor.resume()
            for intent_id in executor.due():
                executor.carry_out(intent_id)
        except Killed:
            embedded.clock.advance(rng.choice([0.5, 12.0]))
    Executor(plain).resume()
    settled(embedded)
    assert sorted(str(n.instance_id) for n in embedded.nodes()) == sorted(embedded.machines())
    assert len(embedded.machines()) == 2


def test_an_intent_is_carried_out_by_one_executor_at_a_time(embedded: World) -> None:
    embedded.submit()
    embedded.plan_only()
    executor = Executor(embedded.context)
    (intent_id,) = executor.due()

    class Slow(Forgetful):
        def launch(self, request: LaunchRequest) -> Instance:
            assert Executor(embedded.context).due() == [], "another executor would take it up"
            return super().launch(request)

    use(embedded, Slow)
    Executor(embedded.context).carry_out(intent_id)
    executor.carry_out(intent_id)
    assert len(embedded.machines()) == 1


def test_who_is_not_sure_to_lead_buys_nothing(embedded: World) -> None:
    leads = [True]
    embedded.context = replace(embedded.context, leads=lambda: leads[0])
    embedded.submit()
    embedded.plan_only()
    (node,) = embedded.nodes()
    (launch,) = embedded.intents(IntentKind.LAUNCH_NODE, node.id)
    leads[0] = False
    assert not Executor(embedded.context).carry_out(launch.id)
    assert embedded.machines() == []
    leads[0] = True
    Executor(embedded.context).resume()
    embedded.clock.advance(LAUNCH_LAG_S)
    assert Executor(embedded.context).carry_out(launch.id)
    assert len(embedded.machines()) == 1


def test_terminating_is_repeated_until_the_cloud_listens(embedded: World) -> None:
    class Deaf(Forgetful):
        def terminate(self, instance_id: InstanceId) -> None:
            if self.lose_answers:
                self.lose_answers -= 1
                raise ProviderUnavailable("away")
            super().terminate(instance_id)

    cloud = Deaf(embedded.providers[ProviderName("cheap")])
    use(embedded, lambda _: cloud)
    embedded.submit()
    embedded.boot()
    cloud.lose_answers = 3
    embedded.cancel("digits")
    embedded.clock.advance(301)
    embedded.plan()
    settled(embedded)
    assert embedded.machines() == []
    assert embedded.nodes() == []
