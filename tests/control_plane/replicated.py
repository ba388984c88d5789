"""A world with services: its loop stepped by hand, agents that say what replicas do, and gateways by hand."""

from typing import Any

from godwit.control_plane.reconcilers.serving import Serving
from godwit.control_plane.services import routes, serving
from godwit.control_plane.store import services as stored
from godwit.domain.services import Replica, Service
from godwit.domain.wire.agents import StartAttempt
from godwit.domain.wire.replicas import ReplicaSeen
from godwit.domain.wire.routes import GatewaySignals, RouteTable
from godwit.domain.wire.services import ServiceDetail, ServiceView
from godwit.domain.wire.specs import JobSpecIn

from tests.control_plane.world import Agent, World


def service_spec(name: str = "chat", **more: Any) -> JobSpecIn:
    """A service as a person would send it, with one GPU for each replica."""
    fields = {"kind": "service", "name": name, "run": "python serve.py", "resources": {"gpus": "H100:1"}}
    return JobSpecIn.model_validate(fields | more)


class Services:
    """Services of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.loop = Serving(world.context)

    def put(self, name: str = "chat", **more: Any) -> ServiceView:
        """Run a service, and let the loop act on it."""
        view = serving.put(self.world.context, self.world.shelf, service_spec(name, **more), "token t")
        self.loop.step()
        return view

    def turn(self) -> None:
        """One turn of everything: services, planner, clouds, agents that take on what they are told."""
        self.loop.step()
        self.world.boot()
        for agent in self.world.agents:
            agent.take_on()
        self.world.plan()
        self.loop.step()

    def come_up(self) -> list[StartAttempt]:
        """Let all replicas that are wanted run and say that they take requests; returns what their agents were told."""
        self.turn()
        told = []
        for replica in self.replicas():
            job = self.world.job(replica.id)
            if replica.state == "starting" and job.state == "running":
                told.append(self.say(replica, ready=True))
        self.loop.step()
        return told

    def say(self, replica: Replica, *, ready: bool, port: int | None = None, detail: str = "") -> Any:
        """The agent of a replica says whether that takes requests."""
        attempt = self.world.attempt(replica.id)
        agent = self.agent_of(replica)
        said = agent.observed(
            ReplicaSeen, attempt_id=attempt.id, epoch=attempt.epoch, ready=ready,
            port=port or 9_000 + replica.ordinal, detail=detail,
        )  # fmt: skip
        agent.beat(said)
        return said

    def agent_of(self, replica: Replica) -> Agent:
        """The agent of the node that it runs on."""
        node_id = self.world.attempt(replica.id).head.node_id
        return next(agent for agent in self.world.agents if agent.node_id == node_id)

    def end(self, replica: Replica, outcome: str = "failed", **more: Any) -> None:
        """The program of a replica ends."""
        attempt = self.world.attempt(replica.id)
        agent = self.agent_of(replica)
        agent.beat(agent.stopped(attempt.id, attempt.epoch, outcome, **more))
        self.world.plan()
        self.loop.step()

    def service(self, name: str = "chat") -> Service:
        """A service as it is kept."""
        with self.world.db.read() as conn:
            return stored.get(conn, name)

    def replicas(self, name: str = "chat", *states: str) -> list[Replica]:
        """Its replicas that are not gone, or those in some states."""
        with self.world.db.read() as conn:
            found = stored.replicas_of(conn, stored.get(conn, name).id)
        return [one for one in found if not states or one.state in states]

    def states(self, name: str = "chat") -> dict[str, str]:
        """Where its replicas stand, by their names."""
        return {one.name: str(one.state) for one in self.replicas(name)}

    def show(self, name: str = "chat") -> ServiceDetail:
        """A service as people see it."""
        return serving.show(self.world.context, name)

    def routes(self, version: int | None = None, gateway: str | None = None) -> RouteTable | None:
        """What a gateway is told."""
        return routes.table(self.world.context, version, gateway)

    def urls(self, state: str = "ready") -> list[str]:
        """Where requests go."""
        table = self.routes()
        assert table is not None
        return [one.url for service in table.services for one in service.replicas if one.state == state]

    def signal(self, gateway: str = "g-1", version: int | None = None, **services: Any) -> None:
        """A gateway that serves by the newest routes, or by `version`, says what it measured: service -> fields."""
        table = self.routes()
        assert table is not None
        said = [_signals(name, fields) for name, fields in services.items()]
        signals = {
            "gateway": gateway, "version": table.version if version is None else version,
            "at": self.world.clock.now(), "window_s": 1.0, "services": said,
        }  # fmt: skip
        routes.told(self.world.context, GatewaySignals.model_validate(signals))
        self.loop.step()


def _signals(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    none = {"in_flight": 0, "queued": 0, "requests": 0, "shed": 0, "failed": 0}
    replicas = [
        {"version": "1", "in_flight": 0, "limit": 4, "answered": 0, "failed": 0} | one
        for one in fields.get("replicas", [])
    ]
    return {"name": name, "project": "default", **none, **fields, "replicas": replicas}
