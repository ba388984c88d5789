"""Settings of every test.

Properties are tried on the same examples each time, so that a change is judged by what it changed. `make explore` tries
them on new ones.
"""

import gc
import os

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, print_blob=True, deadline=None)
settings.load_profile("same")

NICE = 10
"""Ray gets nine tenths of the cores while it starts: on slow ones it took up to 30 s with three quarters."""
_NICE_AT_FIRST = os.nice(0)


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Search for no garbage while modules are imported: they stay, and each search takes half a second by the end."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Never search what was imported for garbage: clients and SDKs of all clouds are most of a million objects."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give way to the process that runs Ray's tests: Ray ends a node that has not started within 30 s.

    Their group is the largest, so that it comes first, and its process gives way once it is through with them: there
    is no way back.
    """
    group = item.get_closest_marker("xdist_group")
    for_ray = group is not None and group.args == ("ray",)
    if "PYTEST_XDIST_WORKER" in os.environ and not for_ray and os.nice(0) == _NICE_AT_FIRST:
        os.nice(NICE)
