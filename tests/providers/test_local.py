"""This machine as a provider: its node outlives whoever started it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.domain.clock import ManualClock
from godwit.domain.drills import Drill
from godwit.domain.errors import NoCapacity, ProviderUnavailable
from godwit.domain.offers import InstanceState
from godwit.providers import registry
from godwit.providers.local.inventory import Inventory
from godwit.providers.local.provider import LISTED_S, LocalProvider
from godwit.providers.protocol import LaunchRequest

from tests.providers.waiting import until


def provider_of(home: Path, clock: ManualClock | None = None) -> LocalProvider:
    stock = Inventory(16, 128.0, "H100-SXM", 8, 80.0)
    return LocalProvider("local", home / "local", clock or ManualClock(), random.Random(), stock)


def request(provider: LocalProvider, token: str) -> LaunchRequest:
    return LaunchRequest(provider.offers()[0], token, "control-plane-1", "exec sleep 1000\n")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    registry.stop_local(tmp_path)


def test_it_offers_what_it_has_at_no_price(home: Path) -> None:
    offer = provider_of(home).offers()[0]
    assert (offer.gpu_model, offer.gpu_count, offer.gpu_memory_gib) == ("H100-SXM", 8, 80.0)
    assert (offer.cpus, offer.memory_gib, offer.price_usd_per_hour, offer.spot) == (16, 128.0, 0.0, False)


def test_after_a_restart_of_the_control_plane_the_node_is_still_the_same(home: Path) -> None:
    before = provider_of(home)
    launched = before.launch(request(before, "token-1"))
    after = provider_of(home)
    assert [(i.id, i.token, i.owner, i.state) for i in after.instances()] == [
        (launched.id, "token-1", "control-plane-1", InstanceState.RUNNING)
    ]
    assert after.launch(request(after, "token-1")).id == launched.id
    with pytest.raises(NoCapacity):
        after.launch(request(after, "token-2"))


def test_once_the_node_is_gone_there_is_room_for_another(home: Path) -> None:
    provider = provider_of(home)
    first = provider.launch(request(provider, "token-1"))
    provider.terminate(first.id)
    until(lambda: provider.offers()[0].capacity == 1)
    assert provider.launch(request(provider, "token-2")).id != first.id


def test_a_node_that_failed_has_ended_once_that_is_asked_for(home: Path) -> None:
    """Listed as failed it would be asked for again and again, and its node would be on its way out for minutes."""
    provider = provider_of(home)
    launched = provider.launch(request(provider, "token-1"))
    provider.drill(launched.id, Drill.NODE_LOSS)
    until(lambda: provider.instances()[0].state is InstanceState.FAILED)
    provider.terminate(launched.id)
    assert provider.instances()[0].state is InstanceState.TERMINATED


def test_an_ended_node_leaves_the_listing_after_a_while(home: Path) -> None:
    clock = ManualClock()
    provider = provider_of(home, clock)
    provider.terminate(provider.launch(request(provider, "token-1")).id)
    until(lambda: provider.offers()[0].capacity == 1)
    assert [i.state for i in provider.instances()] == [InstanceState.TERMINATED]
    clock.advance(LISTED_S + 1)
    assert provider.instances() == []


def test_a_node_that_cannot_be_started_leaves_nothing_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = provider_of(home)
    wanted = request(provider, "token-1")
    monkeypatch.setattr("subprocess.Popen.__init__", _no_processes)
    with pytest.raises(ProviderUnavailable, match="too many processes"):
        provider.launch(wanted)
    monkeypatch.undo()
    until(lambda: not provider.busy())
    assert provider.instances() == []
    assert provider.launch(wanted).state is InstanceState.RUNNING


def test_stopping_ends_the_node_of_a_control_plane_that_is_no_longer_there(home: Path) -> None:
    provider = provider_of(home)
    launched = provider.launch(request(provider, "token-1"))
    registry.stop_local(home)
    assert {i.id: i.state for i in provider_of(home).instances()} == {launched.id: InstanceState.TERMINATED}


def _no_processes(*_arguments: object, **_options: object) -> None:
    raise OSError("too many processes")
