"""A fleet with a story: the real control plane over clouds on paper, whose agents say what a screen should show."""

import math
import time
from pathlib import Path
from typing import Any

from godwit.control_plane import hints
from godwit.control_plane.hints import Hints
from godwit.control_plane.services import projects
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.wire import agents as wire
from godwit.domain.wire.projects import ProjectIn

from tests.control_plane.replicated import Services
from tests.control_plane.world import Agent, World

HISTORY_S = 1200.0
STEPS = 60
WINDOW_S = 30.0
"""As far apart as points of a service's traffic are kept."""


class Story:
    """What is on the screens: a job that trains after it lost a node, others that wait, ended well and badly, a service
    with more traffic than it can take, and a GPU that fell off its bus. It goes on when a test says so.
    """

    def __init__(self, folder: Path) -> None:
        bell = Hints()
        db = Database(open_engine(f"sqlite:///{folder / 'godwit.db'}"), bell.announce)
        db.migrate()
        self.world = World(db, bell, folder)
        self.world.clock.advance(time.time() - HISTORY_S - self.world.clock.now())
        self.services = Services(self.world)
        self._printed: dict[int, int] = {}
        self._tell()

    def _tell(self) -> None:
        world = self.world
        projects.put(
            world.context, "vision", ProjectIn.model_validate({"limits": {"H100": {"nominal": 64}}}), "token t"
        )
        self._ended("prepare", "succeeded", 0)
        self._ended("broken-import", "failed", 1, last_lines=["ModuleNotFoundError: No module named 'datasets'"])
        self.training, gang = self.run("llama-tune", nodes=2, project="vision", run_time="6h")
        self._trains(gang[0], 0, STEPS // 2)
        lost = gang[1]
        lost.beat(lost.found("xid:79", gpu=3, reason="GPU 3 has fallen off the bus"))
        self.go_on()
        self.incident = next(event.subject_id for event in world.events() if event.subject == "incident")
        self._until_running(self.training)
        self._trains(self._gang(self.training)[0], STEPS // 2 - 4, STEPS)
        self.services.put(name="chat", replicas=2, resources={"gpus": "H100:1"})
        self.services.come_up()
        self.waiting = world.submit("pretrain", nodes=40, project="vision")
        world.submit("sweep", gpus="H100:8", nodes=12)
        world.plan_only()
        self._takes_traffic()
        self.beat(world.clock.now() - time.time())
        self.services.signal(chat=self._measured(0.9))

    def _takes_traffic(self) -> None:
        """Requests come in a wave; at its top some wait, and a few are turned away."""
        window = 0
        while self.world.clock.now() + WINDOW_S < time.time():
            window += 1
            self.world.clock.advance(WINDOW_S)
            for agent in self.world.agents:
                agent.beat()
            self.services.signal(chat=self._measured((1 + math.sin(window / 3)) / 2))

    def _measured(self, busy: float) -> dict[str, Any]:
        """What a gateway says of a second in which `busy` of the service's replicas have work."""
        over = max(0.0, busy - 0.8)
        return {
            "requests": round(20 + 60 * busy), "in_flight": round(8 * busy), "queued": round(40 * over),
            "shed": round(30 * over), "failed": 0, "queue_delay_p90_s": 2 * over if over else None,
            "latency_p50_s": 0.18 + 0.1 * busy, "latency_p99_s": 0.6 + 1.5 * busy**2,
            "replicas": [
                {"id": one.attempt_id, "in_flight": round(4 * busy), "answered": round(10 + 30 * busy)}
                for one in self.services.replicas()
            ],
        }  # fmt: skip

    def prints(self, text: str) -> None:
        """The job that trains prints something, and its agent sends it."""
        epoch = self.world.attempt(self.training).epoch
        end = self._printed.get(epoch, 0)
        self.world.logs.append(self.training, epoch, end, text.encode())
        self.world.hints.announce(hints.log_of(self.training))
        self._printed[epoch] = end + len(text)

    def break_a_gpu(self) -> None:
        """A GPU falls off the bus of a node that trains, and the policy answers."""
        head = self._gang(self.training)[0]
        self.beat(0.0)
        head.beat(head.found("xid:79", gpu=0, reason="GPU 0 has fallen off the bus"))
        self.go_on()

    def run(self, name: str, **more: Any) -> tuple[str, list[Agent]]:
        """A job that runs, on nodes that are there or are bought, and the agents of its gang by rank."""
        job_id = self.world.submit(name, **more)
        self._until_running(job_id)
        return job_id, self._gang(job_id)

    def _until_running(self, job_id: str) -> None:
        for _ in range(8):
            self.world.boot()
            for agent in self.world.agents:
                agent.take_on()
            if self.world.job(job_id).state == "running":
                return
        raise AssertionError(f"{job_id} does not run: {self.world.job(job_id)}")

    def _gang(self, job_id: str) -> list[Agent]:
        agents = {agent.node_id: agent for agent in self.world.agents}
        return [agents[slot.node_id] for slot in self.world.attempt(job_id).slots]

    def _ended(self, name: str, outcome: str, exit_code: int, **more: Any) -> None:
        job_id, gang = self.run(name)
        attempt = self.world.attempt(job_id)
        self.world.logs.append(job_id, attempt.epoch, 0, f"{name}: begins\n{name}: ends\n".encode())
        self.world.clock.advance(30.0)
        gang[0].beat(gang[0].stopped(attempt.id, attempt.epoch, outcome, exit_code=exit_code, **more))
        self.world.plan()

    def _trains(self, head: Agent, first: int, last: int) -> None:
        attempt = self.world.attempt(self.training)
        for step in range(first, last):
            self.world.clock.advance(2.0)
            loss = 2.5 * math.exp(-step / 20) + 0.4 + 0.05 * math.sin(step)
            figures = {"loss": loss, "tokens_per_s": 41_000.0 + 500 * (step % 7)}
            told = head.observed(
                wire.JobProgress, attempt_id=attempt.id, epoch=attempt.epoch, at=self.world.clock.now(), step=step,
                total_steps=2 * STEPS, metrics=figures,
            )  # fmt: skip
            head.beat(told)
            self.prints(f"step {step}: loss {loss:.3f}\n")
            for agent in self.world.agents:
                agent.beat()

    def go_on(self) -> None:
        """Let the loops and agents take their turn."""
        self.world.plan()
        for agent in self.world.agents:
            agent.take_on()
        self.world.plan()

    def beat(self, behind_s: float) -> None:
        """Bring the clock to now, and let every agent be heard."""
        self.world.clock.advance(max(0.0, -behind_s))
        for agent in self.world.agents:
            agent.beat()
