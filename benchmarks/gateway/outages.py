"""What users notice of a control plane that is down and of gateways that are killed: a whole system, real processes.

Eight users ask one after the other, each with one retry at the other gateway; each answer streams for 100 ms. Users and
what they use share a machine, so figures are of failures, not of speed. Where three of four replicas break at once, an
answer that had begun is lost with its replica, and the only retry may come to another one that broke: once for each
user at most.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import homes
from benchmarks.figures import Figure, at_most
from benchmarks.gateway.users import Gateway, Users, gateways, kept_port

DOWN_S = 120.0
RESTARTS = 5
UP_S = 120.0
"""How long `godwit up`, and a service that comes up, may take on a machine that is busy."""

USERS, REPLICAS = 8, 4
FAULTS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGUSR1)
"""Of replicas: it ends, it hangs in the middle of an answer, it answers garbage (`SERVER`)."""

SERVER = """\
import http.server, os, signal, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    is_mad = False

    def do_GET(self):
        if Handler.is_mad:
            self.wfile.write(b"\\x00\\xff this is no HTTP" * 100)
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"o")
        time.sleep(0.1)
        self.wfile.write(b"k")

    def log_message(self, *_args):
        pass

signal.signal(signal.SIGUSR1, lambda *_: setattr(Handler, "is_mad", True))
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
SPEC = """\
kind: service
name: outages
workdir: .
run: python serve.py
replicas: 4
keyless: true
readiness: {path: /, period: 500ms, timeout: 8s}
liveness: {path: /, period: 500ms, timeout: 8s, failures: 2}
resources: {gpus: "H100:0.25", spot: never}
"""


@dataclass(frozen=True)
class Counted:
    """What users met in one part of the play: requests, those without an answer after their retry, and why first tries
    failed. `replaced`: replicas that are other ones than before."""

    requests: int
    failed: Mapping[str, int]
    first: Mapping[str, int]
    lasted_s: float
    replaced: int = 0

    @property
    def cut_off(self) -> int:
        """First tries that a gateway had taken on; the others found nobody to take them."""
        return sum(times for why, times in self.first.items() if "refused" not in why)


def measure() -> Iterator[Figure]:
    """The whole two minutes, then gateways killed and restarted in turns."""
    with tempfile.TemporaryDirectory(prefix="godwit-outages-") as folder, homes.serving(config()) as home:
        deploy(home.folder, Path(folder))
        with gateways(home.folder, home.environment, Path(folder), count=2) as running:
            urls = [service_at(one) for one in running]
            down = control_plane_down(home.folder, urls, DOWN_S)
            killed = gateway_again(urls, running[0], Gateway.kill, RESTARTS)
            left = gateway_again(urls, running[0], Gateway.stop, RESTARTS)
            broken = replicas_broken(home.folder, urls)
    yield from _figures(f"control plane down {DOWN_S:g} s", down)
    yield Figure(f"control plane down {DOWN_S:g} s: replicas replaced", down.replaced, f"of {REPLICAS}", at_most(0))
    yield from _figures(f"gateway killed {RESTARTS} times, another beside it", killed)
    yield from _figures(f"gateway restarted {RESTARTS} times, another beside it", left)
    yield from _figures(f"{broken.replaced} of {REPLICAS} replicas killed, hanging, answering garbage", broken, USERS)


def _figures(name: str, found: Counted, most: int = 0) -> Iterator[Figure]:
    yield Figure(f"{name}: requests", found.requests, "", None, f"in {found.lasted_s:.0f} s")
    yield Figure(f"{name}: failed", sum(found.failed.values()), "", at_most(most), str(dict(found.failed) or ""))
    yield Figure(
        f"{name}: first tries failed", sum(found.first.values()), "", None, "each was answered by the other one"
    )
    yield Figure(f"{name}: of these, were in flight", found.cut_off, "", None, str(dict(found.first) or ""))


def config() -> str:
    """How the control plane is set up: at a port that no other takes while it is down."""
    return f"port: {kept_port()}\nproviders:\n  - {{kind: simulated, name: sim-aurora}}\n"


def deploy(home: Path, folder: Path) -> None:
    """A service of so many replicas that serves; one that hears SIGUSR1 answers garbage from then on."""
    (folder / "serve.py").write_text(SERVER)
    (folder / "service.yaml").write_text(SPEC)
    homes.godwit(home, "run", "-y", str(folder / "service.yaml"), timeout_s=UP_S)


def service_at(gateway: Gateway) -> str:
    """Where users find the service at this gateway, once it knows the way."""
    url = f"{gateway.url}/services/default/outages/"
    homes.wait_until(lambda: _answers(url), UP_S, "routes")
    return url


def control_plane_down(home: Path, urls: list[str], down_s: float) -> Counted:
    """Kill the control plane under load, let it be gone for `down_s`, start it, and wait until agents are heard."""
    before = replicas(home)
    with Users(*urls, count=USERS) as users:
        began = time.monotonic()
        os.kill(int(json.loads((home / "control_plane.json").read_text())["pid"]), signal.SIGKILL)
        time.sleep(down_s)  # how long it is down is what is measured
        homes.godwit(home, "up", "--detach", timeout_s=UP_S)
        homes.wait_until(lambda: len(replicas(home)) == REPLICAS, UP_S, "replicas that are heard")
        time.sleep(min(20.0, down_s))  # leases that ran out would end work only now
    replaced = len(before - replicas(home))
    return Counted(users.requests, users.failed, users.first, time.monotonic() - began, replaced)


def gateway_again(urls: list[str], gateway: Gateway, end: Callable[[Gateway], None], times: int) -> Counted:
    """End one of two gateways under load and start it again, so many times."""
    with Users(*urls, count=USERS) as users:
        began = time.monotonic()
        for _ in range(times):
            so_far = users.requests
            homes.wait_until(lambda past=so_far: users.requests >= past + 5 * USERS, UP_S, "requests")  # type: ignore[misc]
            end(gateway)
            gateway.start()
        so_far = users.requests
        homes.wait_until(lambda: users.requests >= so_far + 5 * USERS, UP_S, "requests")
    return Counted(users.requests, users.failed, users.first, time.monotonic() - began)


def replicas_broken(home: Path, urls: list[str]) -> Counted:
    """Break all replicas but one under load, each in its way, and wait until others are in their places."""
    with Users(*urls, count=USERS, pause_s=0.02) as users:  # so that most are in the middle of an answer
        began = time.monotonic()
        broken = break_replicas(home)
        homes.wait_until(lambda: len(replicas(home) - set(broken)) == REPLICAS, 2 * UP_S, "other replicas")
    return Counted(users.requests, users.failed, users.first, time.monotonic() - began, len(broken))


def break_replicas(home: Path) -> list[str]:
    """One replica ends without a word, one stops in the middle of its answers, one answers garbage; their addresses."""
    broken = sorted(replicas(home))[: len(FAULTS)]
    for url, number in zip(broken, FAULTS, strict=True):
        port = url.rpartition(":")[2]
        (one,) = [process for process in psutil.process_iter() if _listens(process, port)]
        one.send_signal(number)
    return broken


def _listens(process: psutil.Process, port: str) -> bool:
    try:
        return process.cmdline()[1:] == ["serve.py"] and process.environ().get("GODWIT_PORT") == port
    except psutil.Error:
        return False


def replicas(home: Path) -> set[str]:
    """Where those replicas are that take requests: each has a port of its own, and no other one after it."""
    found = json.loads(homes.godwit(home, "services", "show", "outages", "-o", "json", timeout_s=UP_S))
    return {str(one["url"]) for one in found["replica_list"] if one["state"] == "ready"}


def _answers(url: str) -> bool:
    with Users(url, count=1, pause_s=0.0) as user:
        time.sleep(0.2)
    return user.answered["ok"] > 0
