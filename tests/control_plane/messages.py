"""What any broker must do: what goes over it arrives, and nobody ends our workers over it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from godwit.control_plane.executors.brokers import Broker, BrokerAway
from godwit.control_plane.executors.over_celery import TASK, OverCelery
from godwit.domain.ids import IntentId

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


def answers(courier: OverCelery) -> bool:
    """A RabbitMQ opens its port before it lets anybody in."""
    try:
        courier.waiting()
    except BrokerAway:
        return False
    return True


def each_message_is_taken_and_strange_ones_are_dropped(url: str, folder: Path) -> None:
    """Six messages that name intents are taken, five others are dropped, and the worker ends in order."""
    courier, taken = OverCelery(Broker(url), "test"), folder / "taken"
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
        until(lambda: taken.exists() and len(taken.read_text().split()) >= 6, "it takes all of them")
        until(lambda: courier.waiting() == 0, "none is left")
        assert sorted(taken.read_text().split()) == [f"intent-{number}" for number in range(6)]
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0, "it ends in order"
    assert "not-for-logs" not in taken.with_suffix(".log").read_text()
