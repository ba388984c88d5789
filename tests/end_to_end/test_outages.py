"""A service is served on while its control plane is gone, while a gateway is, and while most of its replicas fail."""

import os
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from benchmarks.gateway import outages
from benchmarks.gateway.users import Gateway, Users, gateways
from tests.end_to_end.conftest import System, serving, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("outages"), pytest.mark.timeout(540)]

LEASE_S = 15.0
"""As it is by default; guards look each 0.2 s."""

USERS = 4


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One control plane with a service lives through all of it."""
    folder = tmp_path_factory.mktemp("outages")
    with serving(folder / "home", outages.config()) as system:
        outages.deploy(system.home, folder)
        yield system


@pytest.fixture(scope="module")
def pair(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Gateway]]:
    """Two gateways that know the service."""
    with gateways(system.home, system.environment, tmp_path_factory.mktemp("gateways"), count=2) as pair:
        for one in pair:
            outages.service_at(one)
        yield pair


def served(users: Users) -> None:
    """Wait until users have asked ten times more."""
    seen = users.requests
    wait_for("requests", 120, lambda: users.requests > seen + 10)


def test_users_notice_neither_a_control_plane_that_is_gone_for_longer_than_a_lease_nor_a_gateway_that_is_killed(
    system: System, pair: Sequence[Gateway]
) -> None:
    before = outages.replicas(system.home)
    with Users(*map(outages.service_at, pair)) as users:
        over = time.monotonic() + LEASE_S + 3
        os.kill(system.pid(), signal.SIGKILL)
        wait_for("the end of the lease", 120, lambda: time.monotonic() > over)
        assert not users.first, "nobody even had to ask twice"
        pair[0].kill()
        pair[0].start()  # by its copy of the routes: there is nobody to ask for others
        served(users)
        up = system.godwit("up", "--detach")
        assert up.returncode == 0, up.stderr
        wait_for("its replicas", 120, lambda: outages.replicas(system.home) == before)
        served(users)
    assert not users.failed, "one retry at the other gateway was enough"


def test_replicas_that_end_hang_in_the_middle_of_an_answer_or_answer_garbage_are_replaced(
    system: System, pair: Sequence[Gateway]
) -> None:
    with Users(*map(outages.service_at, pair), count=USERS, pause_s=0.02) as users:
        served(users)
        broken = outages.break_replicas(system.home)
        wait_for("others", 240, lambda: len(outages.replicas(system.home) - set(broken)) == outages.REPLICAS)
        served(users)
    assert len(broken) == 3
    # An answer that had begun is lost with its replica, and a user's only retry may come to another one that broke.
    assert sum(users.failed.values()) <= USERS, users.failed
