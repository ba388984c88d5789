"""A real Redis: what goes over it arrives, it may go away, and nobody ends our workers over it."""

from pathlib import Path

import pytest
from godwit.control_plane.executors.brokers import Broker, BrokerAway
from godwit.control_plane.executors.over_celery import OverCelery
from godwit.domain.ids import IntentId

from tests import brokers
from tests.control_plane import messages


def test_each_message_is_taken_and_strange_ones_are_dropped(tmp_path: Path) -> None:
    with brokers.redis() as (url, _):
        messages.each_message_is_taken_and_strange_ones_are_dropped(url, tmp_path)


def test_a_broker_that_is_away_is_said_within_seconds_and_without_its_password() -> None:
    with brokers.redis() as (url, _):
        courier = OverCelery(Broker(url), "test")
        courier.send(IntentId("intent-1"))
    for ask in (courier.waiting, lambda: courier.send(IntentId("intent-2"))):
        with pytest.raises(BrokerAway) as away:
            ask()
        assert "not-for-logs" not in away.value.message
    assert (courier.where, "not-for-logs" in repr(courier)) == (url.replace(":not-for-logs@", "")[:-2], False)
