"""Real brokers: what goes over them arrives, they may go away, and nobody ends our workers over them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from godwit.control_plane.executors.brokers import Broker, BrokerAway
from godwit.control_plane.executors.over_celery import TASK, OverCelery
from godwit.domain.ids import IntentId

from tests import brokers

DEADLINE_S = 120.0

TAKING = """
import os, sys
from godwit.control_plane.executors import over_celery
from godwit.control_plane.executors.brokers import Broker
taken = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
over_celery.work(Broker(os.environ["BROKER"]), "test", lambda one: os.write(taken, f"{one}\\n".encode()), 2)
"""


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return value


@pytest.fixture(params=["redis", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "redis":
        with brokers.redis() as (url, _):
            yield url
        return
    if missing := brokers.rabbitmq_is_missing():
        pytest.skip(missing)
    with brokers.rabbitmq() as url:
        yield url


@contextmanager
def taking(url: str, taken: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that takes messages and writes down which."""
    log = taken.with_suffix(".log").open("wb")
    command = [sys.executable, "-c", TAKING, str(taken)]
    process = subprocess.Popen(command, env={**os.environ, "BROKER": url}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def test_each_message_is_taken_and_strange_ones_are_dropped(url: str, tmp_path: Path) -> None:
    courier, taken = OverCelery(Broker(url), "test"), tmp_path / "taken"
    until(lambda: answers(courier), "the broker answers")
    for number in range(5):
        courier.send(IntentId(f"intent-{number}"))
    assert courier.waiting() == 5
    courier._app.send_task("another.task", args=["intent-9"])
    for strange in ("../etc", {"a": 1}, "x" * 65, 7):
        courier._app.send_task(TASK, args=[strange])
    courier._app.send_task(TASK, args=["one", "too many"])
    courier._app.control.shutdown()
    with taking(url, taken) as process:
        courier.send(IntentId("intent-5"))
        until(lambda: taken.exists() and "intent-5" in taken.read_text(), "it takes all of them")
        until(lambda: courier.waiting() == 0, "none is left")
        assert sorted(taken.read_text().split()) == [f"intent-{number}" for number in range(6)]
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0, "it ends in order"
    assert "not-for-logs" not in taken.with_suffix(".log").read_text()


def test_a_broker_that_is_away_is_said_within_seconds_and_without_its_password(tmp_path: Path) -> None:
    with brokers.redis() as (url, _):
        courier = OverCelery(Broker(url), "test")
        courier.send(IntentId("intent-1"))
    for ask in (courier.waiting, lambda: courier.send(IntentId("intent-2"))):
        with pytest.raises(BrokerAway) as away:
            ask()
        assert "not-for-logs" not in away.value.message
    assert (courier.where, "not-for-logs" in repr(courier)) == (url.replace(":not-for-logs@", "")[:-2], False)


def answers(courier: OverCelery) -> bool:
    """A RabbitMQ opens its port before it lets anybody in."""
    try:
        courier.waiting()
    except BrokerAway:
        return False
    return True
