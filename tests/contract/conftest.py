"""Each provider as a fixture; the suite says which of them a rule binds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.providers import registry

from tests.contract import rigs
from tests.contract.rigs import Rig


@pytest.fixture(scope="session")
def simulated_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the simulated clouds' process running."""
    home = tmp_path_factory.mktemp("home")
    registry.start_simulated(home)
    yield home
    registry.stop_simulated(home)


@pytest.fixture(params=["in-process", "http", "local"])
def any_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["in-process", "http"])
def faulty_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider that can be made to misbehave."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["http", "local"])
def real_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider whose machines are processes."""
    yield from _rig(request, tmp_path)


@pytest.fixture
def http_rig(simulated_home: Path) -> Iterator[Rig]:
    """The provider with a network in between."""
    rig = rigs.over_http(simulated_home)
    yield rig
    rig.end_all()


def _rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "http":
        rig = rigs.over_http(request.getfixturevalue("simulated_home"))
    else:
        rig = rigs.in_process() if request.param == "in-process" else rigs.local(tmp_path / "local")
    yield rig
    rig.end_all()
