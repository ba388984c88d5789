"""A control plane small enough to read, over real HTTP, and agents as real processes."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from godwit.domain.wire.agents import (
    AttemptStopped,
    CommandDone,
    CommandsReply,
    CommandsRequest,
    HeartbeatReply,
    HeartbeatRequest,
    JoinReply,
    JoinRequest,
    Observation,
    Peer,
    StartAttempt,
    StopAttempt,
)
from godwit.domain.wire.logs import LogChunk, LogReply

LEASE_S = 15.0
"""As in production: on a loaded machine an agent may well be silent for five seconds, and then its work ends."""


@dataclass
class NodeRecord:
    """What the fake knows of one node."""

    join: JoinRequest
    commands: list[StartAttempt | StopAttempt] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    heartbeats: int = 0


class FakeControlPlane:
    """Joins agents, hands out commands until answered, stores logs by offset. `mute` makes it answer 503.

    `dismiss` makes it send all agents away, `forgets` those that joined: as after a restore from before that.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeRecord] = {}
        self.logs: dict[str, bytes] = {}
        self.archives: dict[str, bytes] = {}
        self.mute = False
        self.dismiss = self.forgets = False
        self.changed = threading.Condition()
        handler = type("Handler", (_Handler,), {"plane": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def order(self, node: str, *commands: StartAttempt | StopAttempt) -> None:
        with self.changed:
            self.nodes[node].commands += commands
            self.changed.notify_all()

    def seen(self, node: str, kind: str) -> list[Any]:
        return [o for o in self.nodes[node].observations if o.type == kind]

    def end_of(self, node: str, attempt_id: str = "") -> AttemptStopped | None:
        ends = self.seen(node, "attempt-stopped")
        return next((e for e in ends if not attempt_id or e.attempt_id == attempt_id), None)

    def text(self, attempt_id: str) -> str:
        return self.logs.get(attempt_id, b"").decode()

    def answer(self, path: str, token: str, body: bytes) -> Any:
        node = token.removeprefix("credential-")
        if path.endswith("/join"):
            join = JoinRequest.model_validate_json(body)
            self.nodes.setdefault(token, NodeRecord(join))
            return JoinReply(node_id=token, credential=f"credential-{token}", heartbeat_s=0.3, lease_s=LEASE_S)
        if path.endswith("/heartbeat"):
            return self._heartbeat(self.nodes[node], HeartbeatRequest.model_validate_json(body))
        if path.endswith("/commands"):
            return self._commands(self.nodes[node], CommandsRequest.model_validate_json(body))
        chunk = LogChunk.model_validate_json(body)
        have = self.logs.get(chunk.attempt_id, b"")
        if chunk.offset <= len(have):
            have += chunk.text.encode()[len(have) - chunk.offset :]
            self.logs[chunk.attempt_id] = have
        return LogReply(next_offset=len(have))

    def _heartbeat(self, node: NodeRecord, beat: HeartbeatRequest) -> HeartbeatReply:
        with self.changed:
            last = max((o.seq for o in node.observations), default=0)
            node.observations += [o for o in beat.observations if o.seq > last]
            node.live = [attempt.attempt_id for attempt in beat.attempts]
            node.heartbeats += 1
            self.changed.notify_all()
            last = max((o.seq for o in node.observations), default=0)
            return HeartbeatReply(lease_s=LEASE_S, heartbeat_s=0.3, acknowledged_seq=last)

    def _commands(self, node: NodeRecord, asked: CommandsRequest) -> CommandsReply:
        def owed() -> list[StartAttempt | StopAttempt]:
            done = {o.intent_id for o in node.observations if isinstance(o, CommandDone)} | set(asked.known)
            return [command for command in node.commands if command.intent_id not in done]

        with self.changed:
            self.changed.wait_for(owed, timeout=asked.wait_s)
            return CommandsReply(commands=owed())


class _Handler(BaseHTTPRequestHandler):
    plane: FakeControlPlane
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        return

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.plane.mute:
            self._send(503, b"{}")
            return
        token = self.headers["Authorization"].removeprefix("Bearer ")
        if self.plane.dismiss:
            self._send(410, b'{"title":"gone"}', "application/problem+json")
            return
        if self.plane.forgets and not self.path.endswith("/join"):
            self._send(401, b'{"title":"unauthorized"}', "application/problem+json")
            return
        self._send(200, self.plane.answer(self.path, token, body).model_dump_json().encode())

    def do_GET(self) -> None:
        self._send(200, self.plane.archives[self.path.rpartition("/")[2]], "application/gzip")

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the agent was killed while it waited
            self.wfile.write(body)


@dataclass
class Machine:
    """A simulated machine: a folder, an address, and an agent process that can be killed."""

    name: str
    address: str
    folder: Path
    url: str
    gpus: int = 1
    more: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def boot(self) -> None:
        fakes = [
            {"index": i, "uuid": f"GPU-{self.name}-{i}", "model": "H100-SXM", "memory_gib": 80.0}
            for i in range(self.gpus)
        ]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "GODWIT_"))}
        env |= {
            "GODWIT_URL": self.url,
            "GODWIT_JOIN_TOKEN": self.name,
            "GODWIT_NODE_DIR": str(self.folder),
            "GODWIT_NODE_ADDRESS": self.address,
            "GODWIT_PYTHON": sys.executable,
            "GODWIT_FAKE_GPUS": json.dumps(fakes),
            "GODWIT_INSTANCE_MARK": self.mark,
            "GODWIT_CONFINE": "off",
            **self.more,
        }
        with (self.folder.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "godwit.agents"], env=env, stdout=log, stderr=log, start_new_session=True
            )

    def kill_agent(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[str]:
        """Command lines of everything that this machine started, but its agent."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("GODWIT_INSTANCE_MARK") != self.mark or process.status() == "zombie":
                    continue
                if self.process is None or process.pid != self.process.pid:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        return found

    def cut_power(self) -> None:
        for _ in range(50):
            left = 0
            for process in psutil.process_iter():
                try:
                    if process.environ().get("GODWIT_INSTANCE_MARK") == self.mark and process.status() != "zombie":
                        process.kill()
                        left += 1
                except psutil.Error:
                    continue
            if self.process is not None:
                self.process.poll()
            if not left:
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.name} does not die")


def eventually(condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """Wait for a condition to hold, and return what it returned; fail after `timeout_s`.

    One that reads a file which nobody has begun to write does not hold yet.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        missing: FileNotFoundError | None = None
        try:
            if value := condition():
                return value
        except FileNotFoundError as none_yet:
            missing = none_yet
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}") from missing
        time.sleep(0.03)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def plane() -> Iterator[FakeControlPlane]:
    plane = FakeControlPlane()
    yield plane
    plane.close()


@pytest.fixture
def machines(plane: FakeControlPlane) -> Iterator[Callable[..., list[Machine]]]:
    # Sockets lie below this folder, and their paths may have 107 characters: pytest's own folders are too long.
    root = Path("/tmp") / f"gwt-{secrets.token_hex(3)}"
    made: list[Machine] = []

    def boot(count: int = 1, **settings: Any) -> list[Machine]:
        net = f"127.{20 + secrets.randbelow(200)}.{secrets.randbelow(250)}"
        for index in range(count):
            folder = root / str(len(made))
            folder.mkdir(parents=True)
            machine = Machine(f"node-{len(made)}", f"{net}.{10 + index}", folder, plane.url, **settings)
            machine.boot()
            made.append(machine)
        eventually(lambda: all(m.name in plane.nodes and plane.nodes[m.name].heartbeats for m in made), 15, "joined")
        return made[-count:]

    yield boot
    for machine in made:
        machine.cut_power()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def starts(tmp_path: Path, plane: FakeControlPlane) -> Callable[..., list[StartAttempt]]:
    """Makes the start commands of a gang, one for each machine."""

    def make(gang: list[Machine], run: str, epoch: int = 1, **more: Any) -> list[StartAttempt]:
        archive = more.pop("archive", None)
        if archive is not None:
            more["workdir_digest"] = hashlib.sha256(archive).hexdigest()
            plane.archives[more["workdir_digest"]] = archive
        peers = [Peer(rank=i, node_id=m.name, address=m.address) for i, m in enumerate(gang)]
        fields: dict[str, Any] = {
            "job_id": "job-1", "job_name": "a", "attempt_id": f"att-{epoch}", "epoch": epoch, "peers": peers,
            "gpus": [0], "port": 20_000 + 5 * secrets.randbelow(2_000), "ray_token": secrets.token_hex(32), "run": run,
            "setup": None, "workdir_digest": None, "env": {}, "store": f"file://{tmp_path}/store", **more,
        }  # fmt: skip
        return [StartAttempt(intent_id=f"start-{epoch}-{i}", rank=i, **fields) for i in range(len(gang))]

    return make
