"""The many schedules run only when somebody asks for them: they take a quarter of an hour."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `partitions`, unless the run is about it."""
    if "partitions" in (config.option.markexpr or ""):
        return
    many = [item for item in items if item.get_closest_marker("partitions")]
    config.hook.pytest_deselected(items=many)
    items[:] = [item for item in items if item not in many]
