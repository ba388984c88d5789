"""The baseline of job overhead: Ray alone, as somebody without godwit would start it and submit to it."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import first_lines, homes

ADDRESS = "127.21.0.10"
"""A loopback address of its own, as each simulated node has: Ray rewrites 127.0.0.1 to the machine's outer address."""

HEAD_S, SUBMIT_S, STOP_S = 60.0, 60.0, 10.0

SETTINGS = {
    # The same settings under which godwit runs Ray on a simulated node, so that only godwit makes the difference.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "2000",
    "GLOO_SOCKET_IFNAME": "lo",
}


@dataclass(frozen=True)
class Head:
    """A Ray head that takes jobs. `began` is the instant (monotonic) at which it was started."""

    url: str
    environment: dict[str, str]
    began: float

    def submit(self, line: str) -> first_lines.Seen:
        """Submit an `echo` with Ray's own command and see when its line comes."""
        argv = [str(homes.BIN / "ray"), "job", "submit", f"--address={self.url}", "--", "echo", line]
        return first_lines.watch(argv, line, self.environment, SUBMIT_S)


@contextmanager
def head() -> Iterator[Head]:
    """A fresh Ray head with one GPU, ended with everything that it started."""
    folder = Path(tempfile.mkdtemp(prefix="gw-ray-"))  # short: Ray's sockets lie in it
    environment = _environment(folder)
    gcs, dashboard, client = _free_ports(3)
    argv = [
        str(homes.BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", "--log-style=record",
        f"--node-ip-address={ADDRESS}", f"--port={gcs}", f"--dashboard-host={ADDRESS}", f"--dashboard-port={dashboard}",
        f"--ray-client-server-port={client}", "--dashboard-agent-listen-port=0", "--include-log-monitor=false",
        "--min-worker-port=0", "--max-worker-port=0", f"--num-cpus={os.cpu_count()}", "--num-gpus=1",
        "--object-store-memory=80000000", f"--temp-dir={folder}/t",
    ]  # fmt: skip
    log = folder / "start.log"
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait_until_started(process, log)
        yield Head(f"http://{ADDRESS}:{dashboard}", environment, began)
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path) -> dict[str, str]:
    path = f"{homes.BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**homes.environment_of(folder), **SETTINGS, "RAY_AUTH_TOKEN": secrets.token_hex(32), "PATH": path}


def _wait_until_started(process: subprocess.Popen[bytes], log: Path) -> None:
    def started() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"ray start ended with {process.returncode}:\n{log.read_text(errors='replace')}")
        return b"Ray runtime started" in log.read_bytes()

    homes.wait_until(started, HEAD_S, "Ray head")


def _end(process: subprocess.Popen[bytes]) -> None:
    # Never `ray stop`: it ends every Ray on the machine. A head that ends by itself may leave others of its group.
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_ports(count: int) -> list[int]:
    listeners = [socket.socket() for _ in range(count)]
    try:
        for listener in listeners:
            listener.bind((ADDRESS, 0))
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
