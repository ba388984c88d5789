"""Hosts that are reached through a jump host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.domain.errors import InvalidRequest, ProviderUnavailable
from godwit.domain.offers import InstanceState
from godwit.providers.protocol import LaunchRequest
from godwit.providers.ssh_hosts import hosts
from godwit.providers.ssh_hosts.provider import SshHostsProvider

from tests.contract.rigs import SLEEP
from tests.emulators.ssh_hosts.pool import USER, Pool, PoolHost
from tests.emulators.ssh_hosts.rig import adapter

TIMEOUT_S = 4.0


@pytest.fixture
def pool() -> Iterator[Pool]:
    """The first is the jump host, the others are the pool."""
    with Pool(((), (), ())).serving() as pool:
        yield pool


@pytest.fixture
def provider(pool: Pool, tmp_path: Path) -> Iterator[SshHostsProvider]:
    behind = ",".join(address(host) for host in pool.hosts[1:])
    found = adapter(pool, tmp_path, TIMEOUT_S, hosts=behind, via=address(pool.hosts[0]))
    yield found
    found.close()


def address(host: PoolHost) -> str:
    return f"{USER}@127.0.0.1:{host.port}"


def test_every_host_is_reached_through_the_jump_host_over_one_connection(
    pool: Pool, provider: SshHostsProvider
) -> None:
    offers = provider.offers()
    assert {offer.region for offer in offers} == {f"127.0.0.1:{host.port}" for host in pool.hosts[1:]}
    assert sorted(pool.forwarded) == sorted(host.port for host in pool.hosts[1:])
    assert pool.hosts[0].knocks == 1
    launched = provider.launch(LaunchRequest(offers[0], "token-1", "control-plane-1", SLEEP))
    while provider.instances()[0].state is not InstanceState.RUNNING:
        pool.clock.advance(1.0)
    provider.terminate(launched.id)
    while provider.instances():
        pool.clock.advance(1.0)
    assert (pool.hosts[0].knocks, len(pool.forwarded)) == (1, 2), "connections are kept"


def test_a_jump_host_that_comes_back_is_used_again(pool: Pool, provider: SshHostsProvider) -> None:
    assert len(provider.offers()) == 2
    pool.run(pool.hosts[0].close())
    with pytest.raises(ProviderUnavailable, match=f"127.0.0.1:{pool.hosts[0].port} failed"):
        provider.offers()
    pool.run(pool.hosts[0].open())
    assert len(provider.offers()) == 2


def test_a_jump_host_that_is_silent_is_named_and_not_those_behind_it(pool: Pool, provider: SshHostsProvider) -> None:
    pool.run(pool.hosts[0].fall_silent())
    with pytest.raises(ProviderUnavailable, match=f":{pool.hosts[0].port} did not answer as a jump host within 2 s"):
        provider.offers()


def test_a_host_behind_it_that_is_away_is_the_only_one_away(pool: Pool, provider: SshHostsProvider) -> None:
    pool.run(pool.hosts[1].close())
    assert [offer.region for offer in provider.offers()] == [f"127.0.0.1:{pool.hosts[2].port}"]
    assert f"127.0.0.1:{pool.hosts[1].port} failed" in provider.check().account


@pytest.mark.parametrize("text", ["", "gpu-1", "ada@gpu-1=2.5", "ada@gpu-1,ada@gpu-2", "ada@gpu-1:99999", 7])
def test_a_jump_host_that_cannot_be_read_says_how_to_write_it(text: object) -> None:
    with pytest.raises(InvalidRequest, match="via is user@host:port"):
        hosts.jump(text)
