"""A real RabbitMQ does for workers what a Redis does."""

from pathlib import Path

import pytest

from tests import brokers
from tests.control_plane import messages

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(540)]


def test_each_message_is_taken_and_strange_ones_are_dropped(tmp_path: Path) -> None:
    if missing := brokers.rabbitmq_is_missing():
        pytest.skip(missing)
    with brokers.rabbitmq() as url:
        messages.each_message_is_taken_and_strange_ones_are_dropped(url, tmp_path)
