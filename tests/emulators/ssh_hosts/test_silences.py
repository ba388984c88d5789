"""A host that does not answer holds up nobody: it is asked less and less often, and at once again when it is heard."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from godwit.domain.clock import ManualClock
from godwit.domain.errors import ProviderUnavailable
from godwit.domain.offers import InstanceState
from godwit.providers.protocol import LaunchRequest
from godwit.providers.ssh_hosts.hosts import Host
from godwit.providers.ssh_hosts.provider import SshHostsProvider
from godwit.providers.ssh_hosts.silences import LONGEST, Silences, Silent, pause
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.rigs import SLEEP
from tests.emulators.ssh_hosts.pool import Pool, PoolHost
from tests.emulators.ssh_hosts.rig import adapter

TIMEOUT_S = 2.0
ONE, OTHER = Host("ada", "gpu-1"), Host("ada", "gpu-2")
AWAY = ProviderUnavailable("gpu-1 did not answer")


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(((), ())).serving() as pool:
        yield pool


@pytest.fixture
def provider(pool: Pool, tmp_path: Path) -> Iterator[SshHostsProvider]:
    """Two hosts, of which the first is silent from now on."""
    found = adapter(pool, tmp_path, TIMEOUT_S)
    assert len(found.offers()) == 2
    pool.run(pool.hosts[0].fall_silent())
    yield found
    found.close()


def knocks(host: PoolHost, provider: SshHostsProvider, looks: int = 1) -> int:
    """How often the host was asked while somebody looked so many times."""
    before = host.knocks
    for _ in range(looks):
        provider.instances()
    return host.knocks - before


def test_a_silent_host_is_asked_again_after_ever_longer_pauses_while_another_answers(
    pool: Pool, provider: SshHostsProvider
) -> None:
    assert knocks(pool.hosts[0], provider, looks=5) == 1, "the first look waited for it, the others did not"
    pool.clock.advance(TIMEOUT_S - 0.1)
    assert knocks(pool.hosts[0], provider) == 0
    pool.clock.advance(0.2)
    assert knocks(pool.hosts[0], provider, looks=5) == 1
    pool.clock.advance(2 * TIMEOUT_S - 0.1)
    assert knocks(pool.hosts[0], provider) == 0
    assert [offer.price_usd_per_hour for offer in provider.offers()] == [2.0], "the other is offered meanwhile"


def test_a_silent_host_that_answers_is_back_at_once_and_its_next_silence_is_a_first_one(
    pool: Pool, provider: SshHostsProvider
) -> None:
    provider.instances()
    pool.hosts[0].mute = False
    pool.clock.advance(TIMEOUT_S)
    assert len(provider.offers()) == 2
    pool.run(pool.hosts[0].fall_silent())
    provider.instances()
    pool.clock.advance(TIMEOUT_S)
    assert knocks(pool.hosts[0], provider) == 1


def test_a_machine_on_a_silent_host_stays_listed_as_unknown(pool: Pool, tmp_path: Path) -> None:
    provider = adapter(pool, tmp_path, TIMEOUT_S)
    offer = min(provider.offers(), key=lambda offer: offer.price_usd_per_hour)
    launched = provider.launch(LaunchRequest(offer, "token-1", "control-plane-1", SLEEP))
    pool.run(pool.hosts[0].fall_silent())
    for _ in range(3):
        (listed,) = provider.instances()
        assert (listed.id, listed.state) == (launched.id, InstanceState.UNKNOWN)
    pool.hosts[0].mute = False
    provider.terminate(launched.id)
    while provider.instances():
        pool.clock.advance(1.0)
    provider.close()


def test_a_launch_asks_a_silent_host_all_the_same_and_ends_its_silence(pool: Pool, tmp_path: Path) -> None:
    provider = adapter(pool, tmp_path, TIMEOUT_S)
    offer = min(provider.offers(), key=lambda offer: offer.price_usd_per_hour)
    pool.run(pool.hosts[0].fall_silent())
    provider.instances()
    with pytest.raises(ProviderUnavailable, match="did not answer"):
        provider.launch(LaunchRequest(offer, "token-1", "control-plane-1", SLEEP))
    pool.hosts[0].mute = False
    launched = provider.launch(LaunchRequest(offer, "token-2", "control-plane-1", SLEEP))
    (listed,) = provider.instances()
    assert (listed.id, listed.state == InstanceState.UNKNOWN) == (launched.id, False)
    provider.terminate(launched.id)
    while provider.instances():
        pool.clock.advance(1.0)
    provider.close()


def test_a_check_asks_every_host_and_says_which_is_silent(pool: Pool, provider: SshHostsProvider) -> None:
    provider.instances()
    assert "did not answer within 2 s" in provider.check().account
    assert knocks(pool.hosts[0], provider) == 0
    pool.hosts[0].mute = False
    assert provider.check().account == "2 of 2 hosts answer"
    assert len(provider.offers()) == 2


def test_a_host_that_refuses_at_once_costs_nothing_and_is_asked_each_time(pool: Pool, tmp_path: Path) -> None:
    provider = adapter(pool, tmp_path, TIMEOUT_S)
    pool.run(pool.hosts[0].close())
    assert len(provider.offers()) == 1
    pool.run(pool.hosts[0].open())
    assert len(provider.offers()) == 2
    provider.close()


def test_a_pool_that_is_silent_as_a_whole_says_so_without_waiting_and_is_asked_after_each_time_out(
    pool: Pool, provider: SshHostsProvider
) -> None:
    pool.run(pool.hosts[1].fall_silent())
    for _ in range(2):
        before = [host.knocks for host in pool.hosts]
        for _ in range(3):
            with pytest.raises(ProviderUnavailable, match="did not answer"):
                provider.instances()
        assert [host.knocks - known for host, known in zip(pool.hosts, before, strict=True)] == [1, 1]
        pool.clock.advance(TIMEOUT_S)
    for host in pool.hosts:
        host.mute = False
    assert len(provider.offers()) == 2


@given(st.integers(1, 10_000), st.integers(1, LONGEST))
def test_pauses_grow_and_are_bounded(times: int, longest: int) -> None:
    assert 1 <= pause(times, longest) <= pause(times + 1, longest) <= longest
    assert pause(1) == 1


def test_a_host_that_stays_silent_costs_a_twentieth_of_the_time_in_the_end() -> None:
    clock = ManualClock()
    silences = Silences(clock, 15.0)
    asked = 0
    for _ in range(24 * 3600):
        if ONE not in silences.left_alone([ONE, OTHER]):
            asked += 1
            silences.note(ONE, AWAY)
        clock.advance(1.0)
    assert asked * 15.0 / (24 * 3600) < 0.052


def test_one_who_asks_within_the_pause_does_not_lengthen_the_next() -> None:
    clock = ManualClock()
    silences = Silences(clock, 15.0)
    for _ in range(5):
        silences.note(ONE, AWAY)
    clock.advance(15.0)
    assert silences.left_alone([ONE, OTHER]) == {}


def test_a_clock_that_was_set_back_does_not_leave_a_host_alone_for_hours() -> None:
    clock = ManualClock()
    clock.advance(7200.0)
    silences = Silences(clock, 15.0)
    silences.note(ONE, AWAY)
    (said,) = silences.left_alone([ONE, OTHER]).values()
    assert isinstance(said, Silent)
    assert "again in 15 s" in said.message
    earlier = Silences(ManualClock(), 15.0)
    earlier._silent = {host: replace(silence) for host, silence in silences._silent.items()}
    assert earlier.left_alone([ONE, OTHER]) == {}
