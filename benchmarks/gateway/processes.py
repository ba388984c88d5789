"""The proxies as processes: each on a port, in front of the quick server, and what it has used of a processor."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from godwit.domain.wire.routes import ReplicaRoute, RouteTable, ServiceRoute, VersionRoute

from benchmarks.gateway import packages
from benchmarks.gateway.packages import Package

START_S = 30.0
PATH = "/services/p/chat"

NGINX = """worker_processes 1; daemon off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; upstream u {{ server 127.0.0.1:{target}; keepalive 64; }}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u; proxy_http_version 1.1;
proxy_set_header Connection ""; }} }} }}"""


@dataclass(frozen=True)
class Running:
    """A process that listens on `port`; `path` is where it takes requests."""

    port: int
    process: psutil.Process
    path: str = "/x"

    def cpu_s(self) -> float:
        """What it and its children have used so far."""
        family = [self.process, *self.process.children(recursive=True)]
        times = [one.cpu_times() for one in family]
        return sum(one.user + one.system for one in times)

    def resident_bytes(self) -> int:
        """What it holds of memory."""
        found: int = self.process.memory_info().rss
        return found


@contextmanager
def gateway(folder: Path, url: str) -> Iterator[Running]:
    """A gateway in front of one replica."""
    replica = ReplicaRoute(id="r", url=url, version="1")
    routes = ServiceRoute(name="chat", project="p", keyless=True, versions=[VersionRoute(name="1")], replicas=[replica])
    path = folder / "routes.json"
    law = routes.regulation.model_copy(update={"start_concurrency": 1_000, "concurrency_max": 2_000})
    path.write_text(RouteTable(version=1, services=[routes.model_copy(update={"regulation": law})]).model_dump_json())
    port = free_port()
    command = [sys.executable, "-m", "godwit.gateway", "--port", str(port), "--routes", str(path), "--no-access-log"]
    with running(command, port, f"{PATH}/x") as found:
        yield found


@contextmanager
def target() -> Iterator[Running]:
    """The quick server that all of them stand in front of."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.gateway.load", str(port)], port) as found:
        yield found


@contextmanager
def plain(target_port: int) -> Iterator[Running]:
    """A proxy on what the gateway is built on, and nothing of the gateway."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.gateway.peers", str(port), str(target_port)], port) as found:
        yield found


@contextmanager
def packaged(package: Package, python: Path, target_port: int) -> Iterator[Running]:
    """A proxy from the index, in its own environment."""
    port = free_port()
    with running([*packages.command_of(package, python), str(port), str(target_port)], port) as found:
        yield found


@contextmanager
def nginx(folder: Path, target_port: int) -> Iterator[Running]:
    """nginx with one worker; raises `RuntimeError` where there is none."""
    command = shutil.which("nginx")
    if command is None:
        raise RuntimeError("nginx is not on PATH here")
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, target=target_port, port=port))
    with running([command, "-c", str(folder / "nginx.conf"), "-e", "/dev/null"], port) as found:
        yield found


@contextmanager
def running(command: Sequence[str], port: int, path: str = "/x") -> Iterator[Running]:
    """Start a process and wait until it listens; raises `RuntimeError` when it does not."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{' '.join(command)} does not listen on {port}") from None
                time.sleep(0.05)
        yield Running(port, psutil.Process(process.pid), path)
    finally:
        process.terminate()
        process.wait(START_S)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
