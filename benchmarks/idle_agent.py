"""What an agent costs while nothing happens: eight GPUs on paper, every passive check on.

The control plane is a few lines that answer heartbeats as the real one does, in this process, so that only the agent
and the process in which it reads NVML are counted. The heartbeat is the default one of a second.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from godwit.domain.wire.agents import CommandsReply, CommandsRequest, HeartbeatReply, HeartbeatRequest, JoinReply

from benchmarks.figures import Figure, at_most

GPUS, MODEL = 8, "H100-SXM"
HEARTBEAT_S, LEASE_S = 1.0, 15.0
SETTLE_S, WINDOW_S = 10.0, 60.0
"""The window holds two polls at the usual cadence of 30 s; before it the agent has joined and polled once."""

DRILLS, DRILL_S = 5, 30.0
CPU_GOAL_PERCENT, MEMORY_GOAL_MB, SEEN_GOAL_S = 1.0, 120.0, 1.0
MB = 1e6


class _Plane:
    """Answers agents; `seen` are the observations that came, each with when."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, Any]] = []
        handler = type("Handler", (_Handler,), {"plane": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: bytes) -> Any:
        """The reply to one request."""
        if path.endswith("/join"):
            return JoinReply(node_id="n", credential="c", heartbeat_s=HEARTBEAT_S, lease_s=LEASE_S)
        if path.endswith("/heartbeat"):
            beat = HeartbeatRequest.model_validate_json(body)
            self.seen += [(time.time(), observation) for observation in beat.observations]
            last = max((o.seq for o in beat.observations), default=0)
            return HeartbeatReply(lease_s=LEASE_S, heartbeat_s=HEARTBEAT_S, acknowledged_seq=last)
        time.sleep(CommandsRequest.model_validate_json(body).wait_s)
        return CommandsReply(commands=[])


class _Handler(BaseHTTPRequestHandler):
    plane: _Plane
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        return

    def handle(self) -> None:
        with suppress(ConnectionError):  # the agent was ended while it waited
            super().handle()

    def do_POST(self) -> None:
        reply = self.plane.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        body = reply.model_dump_json().encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def measure() -> Iterator[Figure]:
    """CPU and memory of an idle agent with its reading process, and how soon a line of the kernel is heard of."""
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as folder:
        plane = _Plane()
        agent = subprocess.Popen(
            [sys.executable, "-m", "godwit.agents"],
            env=_environment(plane.url, Path(folder)),
            stderr=subprocess.DEVNULL,
        )
        try:
            yield from _at_rest(psutil.Process(agent.pid))
            yield _fatal_line(plane, Path(folder))
        finally:
            agent.terminate()
            agent.wait()
            plane.close()


def _environment(url: str, folder: Path) -> dict[str, str]:
    fakes = [{"index": i, "uuid": f"GPU-{i}", "model": MODEL, "memory_gib": 80.0} for i in range(GPUS)]
    own = {
        "GODWIT_URL": url,
        "GODWIT_JOIN_TOKEN": "token",
        "GODWIT_NODE_DIR": str(folder),
        "GODWIT_NODE_ADDRESS": "127.0.0.1",
        "GODWIT_FAKE_GPUS": json.dumps(fakes),
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("GODWIT_")} | own


def _at_rest(agent: psutil.Process) -> Iterator[Figure]:
    time.sleep(SETTLE_S)  # it joins and looks once
    processes = [agent, *agent.children(recursive=True)]
    before, began = _cpu_s(processes), time.monotonic()
    time.sleep(WINDOW_S)  # the measurement itself: what it uses while left alone
    percent = 100 * (_cpu_s(processes) - before) / (time.monotonic() - began)
    sizes = [process.memory_info().rss / MB for process in processes]
    note = f"over {WINDOW_S:g} s, {GPUS} GPUs on paper, {len(processes)} processes"
    yield Figure("idle: agent, CPU", percent, "% of a core", at_most(CPU_GOAL_PERCENT), note)
    note = " + ".join(f"{size:.0f}" for size in sizes) + ", resident"
    yield Figure("idle: agent, memory", sum(sizes), "MB", at_most(MEMORY_GOAL_MB), note)


def _fatal_line(plane: _Plane, folder: Path) -> Figure:
    """From a fault that shows in the kernel log to the heartbeat that tells of it."""
    took: list[float] = []
    for index in range(DRILLS):
        dropped_at = time.time()
        (folder / "faults" / f"{index}.json").write_text(json.dumps({"fault": "gpu-lost", "gpu": index}))
        while not (heard := _heard(plane, f"GPU-{index}")):
            if time.time() - dropped_at > DRILL_S:
                raise RuntimeError(f"Xid 79 of GPU {index} was not heard of within {DRILL_S:g} s")
            time.sleep(0.005)
        took.append(heard[0] - dropped_at)
    median = sorted(took)[len(took) // 2]
    note = f"median of {DRILLS}, from the fault to the heartbeat that tells of Xid 79"
    return Figure("idle: agent, fatal line told", median, "s", at_most(SEEN_GOAL_S), note)


def _heard(plane: _Plane, uuid: str) -> list[float]:
    return [at for at, o in list(plane.seen) if o.type == "finding" and o.code == "xid:79" and o.gpu == uuid]


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(process.cpu_times().user + process.cpu_times().system for process in processes)
