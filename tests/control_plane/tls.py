"""A world whose agents come by TLS over loopback: real sockets, certificates and agents' code, and a clock by hand."""

import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from godwit.agents import certificates as of_agents
from godwit.agents import joining
from godwit.agents.joining import Joined
from godwit.agents.link import Link
from godwit.agents.runtime.process.probe import Abilities
from godwit.agents.settings import Settings
from godwit.control_plane.agents_listener import AgentsListener, Server
from godwit.control_plane.agents_tls import AgentsTls
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.certified import Certified
from godwit.control_plane.api.hearing import Hearing
from godwit.control_plane.api.state import State
from godwit.control_plane.connection import Connection, Line
from godwit.control_plane.services.terminals import Terminals
from godwit.domain.wire.agents import HeartbeatReply, HeartbeatRequest

from tests.control_plane.apis import DEADLINE_S, accounts_of
from tests.control_plane.world import World

BEHIND_S = 3.5 * 86_400.0
"""For so long a test may let time pass, and what the server shows is still good by the clock of this machine, at which
agents look: it is good for a week."""

GPUS = json.dumps([{"index": i, "uuid": f"GPU-{i}", "model": "H100-SXM", "memory_gib": 80.0} for i in range(8)])


@dataclass
class Plane:
    """A control plane that listens twice: at `url` for agents, by TLS, and at `plain` for all else."""

    world: World
    folder: Path
    listener: AgentsListener
    url: str
    plain: str
    terminals: Terminals

    def machine(self, number: int = 0, **job: Any) -> "Machine":
        """A machine that was bought for a job and has booted; its agent has not joined yet."""
        self.world.submit(f"job-{number}", **job)
        self.world.turn()
        self.world.clock.advance(1.0)
        self.world.watch()
        (node,) = [node for node in self.world.nodes() if node.state == "joining"]
        folder = self.folder / f"node-{number}"
        folder.mkdir(mode=0o700)
        token = self.world.join_token(node.id)
        chosen = Settings(self.plain, token, folder, "127.20.0.1", "python", GPUS, tls=True)
        return Machine(chosen, node.id)

    def joined(self, number: int = 0, **job: Any) -> "Machine":
        """The same, joined."""
        machine = self.machine(number, **job)
        machine.join()
        self.world.plan()
        return machine


@dataclass
class Machine:
    """A node's agent: its own code for joining and calling, and nothing of the rest."""

    chosen: Settings
    node_id: str

    def join(self) -> Joined:
        """Join, as an agent does when it starts; returns what it keeps."""
        return joining.join(self.chosen, Link(self.chosen.url), Abilities(), random.Random(1))

    @property
    def kept(self) -> Joined:
        """What lies on its disk."""
        return Joined.model_validate_json((self.chosen.node_dir / "credential").read_text())

    def keep(self, **changed: object) -> None:
        """Somebody changes what lies on its disk."""
        joining.keep(self.chosen.node_dir, self.kept.model_copy(update=changed))

    def tls(self) -> ssl.SSLContext | None:
        """TLS as it speaks it."""
        return joining.tls_of(self.kept, self.chosen.node_dir)

    def link(self) -> Link:
        """Its connection, with what lies on its disk."""
        return Link(self.kept.url, self.kept.credential, self.tls())

    def beat(self, link: Link | None = None, **said: Any) -> HeartbeatReply:
        """A heartbeat."""
        request = HeartbeatRequest(agent_id=joining.agent_id(self.chosen.node_dir), renews=True, **said)
        return (link or self.link()).heartbeat(request)

    def client(self, url: str = "") -> httpx.Client:
        """A plain client that shows what this agent shows."""
        verify = of_agents.tls(self.kept.authorities or [], self.chosen.node_dir, self.kept.certificate, self.kept.key)
        headers = {"Authorization": f"Bearer {self.kept.credential}"}
        return httpx.Client(base_url=url or self.kept.url, verify=verify, headers=headers, timeout=DEADLINE_S)


@contextmanager
def served(world: World, folder: Path, *, required: bool = True, peer: bool = False) -> Iterator[Plane]:
    """The control plane of a world, serving; its clock is `BEHIND_S` behind at first."""
    world.clock.advance(max(0.0, time.time() - BEHIND_S - world.clock.now()))
    plain, agents = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    url, plain_url = (f"{how}://127.0.0.1:{of.getsockname()[1]}" for how, of in (("https", agents), ("http", plain)))
    tls = AgentsTls(url, required=required)
    world.context = replace(world.context, agents_tls=tls)
    listener = AgentsListener(world.context, tls, folder, agents)
    terminals = Terminals(plain_url if peer else "")
    state = State(world.context, world.shelf, world.logs, accounts_of(world), dict, terminals=terminals)
    app = Certified(Hearing(create_app(state), state), world.context, tls, listener.trusted)
    config = uvicorn.Config(
        app, log_level="error", lifespan="off", timeout_graceful_shutdown=1, http=Connection, ws=Line
    )
    server = Server(config, listener)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [plain]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + DEADLINE_S
    while not server.started or len(server.servers) < 2:
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.01)
    yield Plane(world, folder, listener, url, plain_url, terminals)
    server.should_exit = True
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "the server does not end"
