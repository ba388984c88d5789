"""Each provider as a fixture; the suite says which of them a rule binds."""

from collections.abc import Iterator
from importlib import import_module
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


EMULATED = sorted(path.parent.name for path in (Path(__file__).parents[1] / "emulators").glob("*/rig.py"))
"""Real clouds' adapters on their emulators: each folder of tests/emulators with a rig."""


@pytest.fixture(params=["in-process", "http", "local", *EMULATED])
def any_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["in-process", "http", "local"])
def own_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider that can be drilled."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["in-process", "http"])
def drilled_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every simulated cloud."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["in-process", "http", *EMULATED])
def faulty_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider that can be made to misbehave."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["http", "local"])
def real_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider whose machines are processes."""
    yield from _rig(request, tmp_path)


@pytest.fixture(params=["http", *EMULATED])
def networked_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Every provider with a network in between."""
    yield from _rig(request, tmp_path)


def _rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param in EMULATED:
        for rig in import_module(f"tests.emulators.{request.param}.rig").rig():
            yield rig
            rig.end_all()
        return
    if request.param == "http":
        rig = rigs.over_http(request.getfixturevalue("simulated_home"))
    else:
        rig = rigs.in_process() if request.param == "in-process" else rigs.local(tmp_path / "local")
    yield rig
    rig.end_all()
