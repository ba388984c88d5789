"""The fleet: nodes brought from intent to ready per minute, where clouds boot and agents join at once."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue

from godwit.control_plane.context import Context
from godwit.control_plane.services import agents, jobs
from godwit.control_plane.services.archives import Shelf
from godwit.domain.clock import SystemClock
from godwit.domain.ids import ProviderName
from godwit.domain.wire import agents as wire
from godwit.domain.wire.specs import JobSpecIn, ResourcesSpec
from godwit.providers.machines import Machine
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.inprocess import Answer, InProcessProvider
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings

from benchmarks import stages
from benchmarks.figures import Figure, at_least

NODES = 200
GOAL_PER_MINUTE = 600.0


class _Locked(InProcessProvider):
    """A `Cloud` takes turns; the executor's threads and the watch share one."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, SystemClock())
        self._turn = threading.RLock()

    def _call(self, ask: Callable[[], Answer], *, launching: bool = False) -> Answer:
        with self._turn:
            return super()._call(ask, launching=launching)


def measure() -> Iterator[Figure]:
    """Nodes per minute, of which each was an intent, a launch, a listing and a join."""
    booted: Queue[Machine] = Queue()
    shape = Shape("h100.1x", "r", "H100-SXM", 1, 80.0, 26, 225.0, 2.0, None, NODES + 10, fabric_domain="f")
    settings = CloudSettings("bench", 1, "127.0.9", (shape,), boot_s=(0.0, 0.0), page_limit=100)
    cloud = Cloud(settings, SystemClock(), random.Random(7), PaperMachines(on_boot=booted.put))
    spec = JobSpecIn(name="wide", run="true", resources=ResourcesSpec(gpus="H100:1", nodes=NODES))
    with stages.running({ProviderName("bench"): _Locked(cloud)}) as stage:
        stage.wait_for(lambda: stage.count("offers") == 1, within_s=10)
        over = threading.Event()
        threading.Thread(target=_join_all, args=(stage.context, booted, over), daemon=True).start()
        began = time.monotonic()
        jobs.submit(stage.context, Shelf(Path("/tmp")), spec, None, "bench")
        stage.wait_for(lambda: stage.count("nodes", "state = 'ready'") == NODES, within_s=120)
        seconds = time.monotonic() - began
        over.set()
    note = f"{NODES} nodes in {seconds:.1f} s"
    yield Figure("fleet: nodes from intent to ready", NODES / seconds * 60, "/min", at_least(GOAL_PER_MINUTE), note)


def _join_all(context: Context, booted: "Queue[Machine]", over: threading.Event) -> None:
    while not over.is_set():
        try:
            machine = booted.get(timeout=0.1)
        except Empty:
            continue
        token = machine.startup_script.partition("GODWIT_JOIN_TOKEN=")[2].split()[0].strip("'")
        request = wire.JoinRequest(
            agent_id=f"agent-{machine.instance_id}", hostname="bench", address=machine.address, agent_version="bench",
            cpus=26, memory_gib=225.0, gpus=list(machine.gpus or ()),
        )  # fmt: skip
        agents.join(context, token, request)
