"""The simulated world's own log lines would drown a failure's story."""

import pytest
import structlog


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
