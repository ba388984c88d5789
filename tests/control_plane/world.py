"""A control plane without threads: clouds on paper, agents by hand, and time that passes when a test says so."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from godwit.control_plane.context import Context
from godwit.control_plane.envelope import Envelope
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.hints import Hints
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.reconcilers.instances import InstanceWatch, OfferWatch
from godwit.control_plane.reconcilers.planning import Planning
from godwit.control_plane.services import agents, jobs
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.services.logs import LogStore
from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database
from godwit.domain.clock import ManualClock
from godwit.domain.events import Event
from godwit.domain.ids import IdSource, ProviderName
from godwit.domain.intents import Intent, IntentKind
from godwit.domain.jobs import Attempt, Job
from godwit.domain.nodes import Node
from godwit.domain.offers import Offer
from godwit.domain.wire import agents as wire
from godwit.domain.wire.health import FindingSeen, RepairNode, RunChecks
from godwit.domain.wire.loads import NodeLoad
from godwit.domain.wire.specs import JobSpecIn
from godwit.providers.protocol import Provider
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.inprocess import InProcessProvider
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings
from sqlalchemy import func, select

Observed = TypeVar("Observed")

CHEAP = Shape("h100.8x", "north", "H100-SXM", 8, 80.0, 208, 1800.0, 20.0, None, 4, "cheap/north")
DEAR = Shape("h100.8x", "south", "H100-SXM", 8, 80.0, 208, 1800.0, 30.0, None, 4, "dear/south")


def spec(name: str = "digits", gpus: str = "H100:8", nodes: int = 1, **more: Any) -> JobSpecIn:
    """A job as a person would send it."""
    resources = {"gpus": gpus, "nodes": nodes} | more.pop("resources", {})
    return JobSpecIn.model_validate({"name": name, "run": "python train.py", "resources": resources} | more)


class Agent:
    """A node's agent, by hand: it says what the test lets it say."""

    def __init__(self, world: "World", node_id: str, agent_id: str = "agent-0001") -> None:
        self._world = world
        self.node_id = node_id
        self.agent_id = agent_id
        self.seq = 0
        self.live: list[wire.LiveAttempt] = []
        self.credential = ""

    def join(
        self, gpus: int = 8, token: str | None = None, model: str = "H100-SXM", cannot_save: str = "", **more: str
    ) -> wire.JoinReply:
        """Introduce the machine; its token is the one in its startup script; `cannot_save` says why not."""
        facts = [
            wire.GpuFact(index=i, uuid=f"GPU-{self.node_id}-{i}", model=model, memory_gib=80.0) for i in range(gpus)
        ]
        request = wire.JoinRequest(
            agent_id=self.agent_id, hostname="h", address="127.20.0.1", agent_version="1", cpus=208, memory_gib=1800.0,
            gpus=facts, no_process_saves=cannot_save, no_gpu_process_saves=cannot_save, **more,
        )  # fmt: skip
        reply = agents.join(self._world.context, token or self._world.join_token(self.node_id), request)
        self.credential = reply.credential
        return reply

    def observed(self, kind: Callable[..., Observed], **fields: Any) -> Observed:
        """An observation with the next number."""
        self.seq += 1
        return kind(seq=self.seq, **fields)

    def beat(
        self, *observations: Any, sent_at: float | None = None, load: NodeLoad | None = None
    ) -> wire.HeartbeatReply:
        """One heartbeat."""
        request = wire.HeartbeatRequest(
            agent_id=self.agent_id,
            sent_at=self._world.clock.now() if sent_at is None else sent_at,
            attempts=self.live,
            observations=list(observations),
            load=load,
        )
        return agents.heartbeat(self._world.context, self.credential, request)

    def commands(self, known: Sequence[str] = ()) -> list[Any]:
        """What is owed to the node."""
        return list(agents.commands(self._world.context, self.credential, set(known))[1])

    def take_on(self) -> list[Any]:
        """Fetch what is owed, take it on, and report the program as running where this node is the head."""
        owed = self.commands()
        said: list[Any] = []
        for command in owed:
            said.append(self.observed(wire.CommandDone, intent_id=command.intent_id, accepted=True))
            if isinstance(command, RepairNode | RunChecks) or command.type == "copy-checkpoint":
                continue  # the test says how it ends
            if isinstance(command, wire.StopAttempt):
                self.live = [a for a in self.live if a.attempt_id != command.attempt_id]
                said.append(self.stopped(command.attempt_id, command.epoch, "cancelled"))
                continue
            self.live = [*self.live, wire.LiveAttempt(attempt_id=command.attempt_id, epoch=command.epoch)]
            if command.rank == 0 or command.joins:
                said.append(self.observed(wire.AttemptRunning, attempt_id=command.attempt_id, epoch=command.epoch))
        if said:
            self.beat(*said)
        return owed

    def found(self, code: str, gpu: int | None = None, **more: Any) -> FindingSeen:
        """What a check found, of one GPU or of the node."""
        uuid = None if gpu is None else f"GPU-{self.node_id}-{gpu}"
        told: dict[str, Any] = {"check": "kernel-log", "grade": "unhealthy", "reason": f"{code} was seen"}
        return self.observed(FindingSeen, code=code, gpu=uuid, **told | more)

    def report_step(self, attempt: Attempt, step: int) -> None:
        """The program says how far it is."""
        at = self._world.clock.now()
        self.beat(self.observed(wire.JobProgress, attempt_id=attempt.id, epoch=attempt.epoch, at=at, step=step))

    def stopped(self, attempt_id: str, epoch: int, outcome: str, **more: Any) -> wire.AttemptStopped:
        """The observation that nothing of the attempt runs here any more."""
        self.live = [a for a in self.live if a.attempt_id != attempt_id]
        return self.observed(wire.AttemptStopped, attempt_id=attempt_id, epoch=epoch, outcome=outcome, **more)


class World:
    """One control plane, its clouds `cheap` and `dear`, and everything that a test wants to look at."""

    def __init__(self, db: Database, hints: Hints, folder: Path, shapes: tuple[Shape, Shape] = (CHEAP, DEAR)) -> None:
        self.clock = ManualClock()
        self.paper = {"cheap": PaperMachines(), "dear": PaperMachines()}
        self.clouds = {
            name: Cloud(CloudSettings(name, i, f"127.20.{i}", (shape,)), self.clock, random.Random(i), self.paper[name])
            for i, (name, shape) in enumerate(zip(("cheap", "dear"), shapes, strict=True), start=1)
        }
        providers: dict[ProviderName, Provider] = {
            ProviderName(name): InProcessProvider(cloud, self.clock) for name, cloud in self.clouds.items()
        }
        self.providers = providers
        self.context = Context(
            db=db,
            hints=hints,
            clock=self.clock,
            ids=IdSource(self._later, random.Random(7)),
            keyring=Keyring(b"k" * 32),
            providers=providers,
            identity="godwit-test",
            url="http://127.0.0.1:7461",
            store_url="file:///checkpoints",
            serving_since=self.clock.now(),
            envelope=Envelope([b"e" * 32]),
        )
        self.db, self.hints = db, hints
        self.shelf, self.logs = Shelf(folder / "archives"), LogStore(folder / "logs")
        self.watches: dict[str, InstanceWatch] = {
            str(name): InstanceWatch(self.context, p) for name, p in providers.items()
        }
        self.agents: list[Agent] = []
        self._ticks = 0

    def _later(self) -> float:
        # Ids made in the same centisecond have no order, and here time stands still.
        self._ticks += 1
        return self.clock.now() + self._ticks / 100

    # What loops would do.

    def read_offers(self) -> None:
        """Read what every cloud sells."""
        for provider in self.providers.values():
            OfferWatch(self.context, provider).step()

    def plan(self) -> None:
        """Let the planner decide until it rests."""
        assert Planning(self.context).step().actions == (), "the planner does not come to rest"

    def plan_only(self) -> None:
        """Read offers and plan, with nothing carried out."""
        self.read_offers()
        self.plan()

    def execute(self) -> None:
        """Carry out every intent that is due."""
        executor = Executor(self.context)
        for intent_id in executor.due():
            executor.carry_out(intent_id)

    def watch(self) -> None:
        """List every cloud's instances."""
        for watch in self.watches.values():
            watch.step()

    def turn(self) -> None:
        """One turn of every loop."""
        self.read_offers()
        self.plan()
        self.execute()
        self.watch()
        self.plan()

    # What people and agents do.

    def submit(self, *args: Any, **more: Any) -> str:
        """Submit a job; returns its id."""
        return jobs.submit(self.context, self.shelf, spec(*args, **more), None, "token t").id

    def cancel(self, job_id: str) -> None:
        """Cancel a job, and let the planner act on it."""
        jobs.cancel(self.context, job_id, "token t")
        self.plan()

    def join_token(self, node_id: str) -> str:
        """What the machine of this node finds in its startup script."""
        return self.context.keyring.join_token(node_id, self.intents(IntentKind.LAUNCH_NODE, node_id)[0].id)

    def boot(self) -> list[Agent]:
        """Let bought machines boot and their agents join; returns the agents that are new."""
        self.turn()
        self.clock.advance(1.0)
        self.watch()
        booted = [Agent(self, node.id) for node in self.nodes() if node.state == "joining"]
        for agent in booted:
            agent.join()
        self.agents += booted
        self.plan()
        return booted

    def run(self, *args: Any, **more: Any) -> tuple[str, list[Agent]]:
        """A job that runs, and the agents of its nodes in rank order."""
        job_id = self.submit(*args, **more)
        agents_of = {agent.node_id: agent for agent in self.boot()}
        gang = [agents_of[slot.node_id] for slot in self.attempt(job_id).slots]
        for agent in gang:
            agent.take_on()
        assert self.job(job_id).state == "running"
        return job_id, gang

    # What goes wrong.

    def unconfigure(self, name: str) -> None:
        """Its owner took a provider out of the configuration."""
        left = {key: provider for key, provider in self.context.providers.items() if key != name}
        self.context = replace(self.context, providers=left)

    def watch_instead(self, provider: Any) -> None:
        """Watch another account in place of the provider of its name."""
        self.watches = {**self.watches, provider.name: InstanceWatch(self.context, provider)}

    def forget_machine(self, node_id: str) -> None:
        """A cloud knows nothing of a machine any more, as long after its end."""
        node = self.node(node_id)
        cloud = self.clouds[node.offer.provider]
        cloud.terminate(node.instance_id or "")
        for passed_s in (1.0, cloud.settings.known_s * 2):
            self.clock.advance(passed_s)
            cloud.tick()

    # What is so.

    def job(self, name_or_id: str) -> Job:
        """A job."""
        with self.db.read() as conn:
            return queries.job(conn, name_or_id)

    def attempt(self, job_id: str) -> Attempt:
        """The newest attempt of a job."""
        with self.db.read() as conn:
            return queries.attempts_of(conn, job_id)[-1]

    def nodes(self, *, final: bool = False) -> list[Node]:
        """Nodes, oldest first."""
        with self.db.read() as conn:
            return queries.nodes(conn, final=final)

    def node(self, node_id: str) -> Node:
        """A node."""
        with self.db.read() as conn:
            return queries.node(conn, node_id)

    def intents(self, kind: IntentKind, node_id: str) -> list[Intent]:
        """All intents of one kind owed to a node."""
        with self.db.read() as conn:
            return queries.intents_of(conn, node_id, kind)

    def events(self, kind: str | None = None, **of: Any) -> list[Event]:
        """What happened, oldest first."""
        with self.db.read() as conn:
            found = queries.events(conn, 0, 10_000, **of)
        return [event for event in found if kind in {None, event.kind}]

    def providers_offers(self, name: str) -> list[Offer]:
        """What a provider sold when it was last read."""
        with self.db.read() as conn:
            return queries.offers(conn, name)

    def rows(self, table: Any) -> int:
        """How many rows a table has."""
        with self.db.read() as conn:
            return int(conn.execute(select(func.count()).select_from(table)).scalar_one())

    def machines(self) -> list[str]:
        """Ids of the machines that are paid for now, at all clouds."""
        return [machine for cloud in self.clouds.values() for machine in cloud.live()]
