from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.confinement import confined
from godwit.agents.confinement.keeper import Keeper

from tests.agents.confinement import places
from tests.agents.confinement.places import Attempt


@pytest.fixture
def node_dir() -> Iterator[Path]:
    with places.node_dirs() as folder:
        yield folder


@pytest.fixture
def found(node_dir: Path) -> Keeper:
    return places.looked(node_dir)


@pytest.fixture
def attempts(node_dir: Path, found: Keeper) -> Iterator[Callable[..., Attempt]]:
    """Makes attempts; whatever is left of them ends with the test."""
    made: list[Attempt] = []

    def make(name: str = "att-1", by: Keeper = found, **more: Any) -> Attempt:
        made.append(Attempt(node_dir, by, name, **more))
        return made[-1]

    yield make
    for one in made:
        one.custody.stop(0.0)
        while one.folder.guard_was_started and one.custody.ended() is None:
            pass
        confined.read(one.folder.root).end()
