"""A fleet of separate hosts: a real control plane and a simulated cloud here, agents in network namespaces.

The agents, their guards and the job's program are real processes; Ray is stood in for (`stand_in_ray.py`). What agents
say goes through the switch, and so does what the nodes of a gang say to each other, and to the store.
"""

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from godwit.domain.clock import SystemClock
from godwit.providers import processes
from godwit.providers.hosted import HostedMachines
from godwit.providers.machines import Machine
from godwit.providers.simulated import __main__ as clouds
from godwit.providers.simulated import host as hosting
from moto.server import ThreadedMotoServer

from tests.network.relay import Relay
from tests.network.switch import CONTROL, STORE, Switch

CLOUD = "sim-cascade"
LEASE_S, MISSED_S = 6.0, 3.0
"""Shorter than in production, so that a partition need not last; the margin is production's."""

HOSTS = 6
WORLDS = 16
STORE_PORT = 9000
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "godwit"

CONFIG = """
url: {url}
checkpoints: {store}
providers: [{{kind: simulated, name: {cloud}}}]
policy: {{missed_after_s: {missed_s}, lease_s: {lease_s}, hold_s: 1, idle_after_s: 600}}
fleet: {{max_nodes: {hosts}}}
"""

_HERE = Path(__file__).parent


class NamespacedMachines(HostedMachines):
    """Machines of which each boots in a network namespace of its own, with its host's address."""

    def __init__(self, state_dir: Path, switch: Switch, environment: Mapping[str, str]) -> None:
        super().__init__(state_dir, environment)
        self._switch = switch
        self.host_of: dict[str, str] = {}
        """Which host each machine is on."""
        self.warned_at = 0.0
        """When a machine was last told that it is taken back, in seconds since the epoch."""

    def warn(self, instance_id: str, within_s: float) -> None:
        """Note when, and tell the machine."""
        self.warned_at = time.time()
        super().warn(instance_id, within_s)

    def boot(self, machine: Machine) -> None:
        """Start it on a free host. Raises `OSError` when there is none."""
        taken = {self.host_of[instance_id] for instance_id in self.known() if instance_id in self.host_of}
        host = self.host_of.get(machine.instance_id) or next((h for h in self._switch.hosts if h not in taken), None)
        if host is None:
            raise OSError("every host is taken")
        self.host_of[machine.instance_id] = host
        namespace, address = self._switch.hosts[host], self._switch.addresses[host]
        # In a here-document, word for word: the script reads nothing from its standard input.
        script = (
            f"exec ip netns exec {namespace} sh /dev/fd/9 9<<'END OF SCRIPT'\n{machine.startup_script}\nEND OF SCRIPT\n"
        )
        super().boot(replace(machine, address=address, startup_script=script))


class World:
    """One control plane with its hosts. `diaries` is where the job's processes write down what they did."""

    def __init__(self, home: Path, url: str, switch: Switch, machines: NamespacedMachines) -> None:
        self.home, self.switch, self.machines = home, switch, machines
        self.diaries = home / "diaries"
        self.diaries.mkdir()
        token = (home / "token").read_text().strip()
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
        )

    def submit(self, name: str, nodes: int, steps: int, step_s: float, spot: str = "never") -> None:
        """Submit the job."""
        program = f"{sys.executable} -S {_HERE / 'program.py'} {self.diaries} {steps} {step_s}"
        spec = {
            "name": name, "run": f"exec {program}", "env": {"EACH_NODE_RUNS": f"exec {program}"},
            "resources": {"gpus": "H100:1", "nodes": nodes, "spot": spot}, "retries": {"max": 1000},
            "preflight": "never", "hang_after": "off",
        }  # fmt: skip
        answer = self._http.post("/v1/jobs", json=spec)
        assert answer.status_code == 202, answer.text

    def drill(self, kind: str, node: str) -> None:
        """Break something on purpose."""
        answer = self._http.post("/v1/drills", json={"kind": kind, "node_id": node})
        assert answer.is_success, answer.text

    def node_of(self, name: str) -> str:
        """The node of the job's head."""
        return str(self.job(name)["attempts"][-1]["slots"][0]["node_id"])

    def job(self, name: str) -> dict[str, Any]:
        """The job with its attempts and checkpoints."""
        return dict(self.read(f"/v1/jobs/{name}"))

    def read(self, path: str, **params: str) -> Any:
        """What the control plane answers."""
        answer = self._http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def hosts_of(self, name: str) -> list[str]:
        """The hosts of the job's newest attempt, by rank."""
        instances = {node["id"]: node["instance_id"] for node in self.read("/v1/nodes", all="true")["items"]}
        slots = sorted(self.job(name)["attempts"][-1]["slots"], key=lambda slot: slot["rank"])
        return [self.machines.host_of[instances[slot["node_id"]]] for slot in slots]

    def log(self) -> str:
        """What the control plane and the machines said, for somebody who asks what went wrong."""
        logs = [self.home / "control_plane.log", *sorted((self.home / "simulated" / "boot_logs").glob("*.log"))]
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-8000:]}" for path in logs)


def wait_for(what: str, within_s: float, look: Callable[[], Any]) -> Any:
    """Look until there is something; fails the test after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come within {within_s} s"
        time.sleep(0.2)
    return found


@contextmanager
def running(folder: Path, rng: random.Random, *, bucket: bool) -> Iterator[World]:
    """A world below `folder`; with `bucket` the store is one (S3), else a folder that every host sees, cut or not."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    with ExitStack() as stack:
        network = stack.enter_context(_network_of_our_own())
        switch = Switch(network, HOSTS, rng)
        stack.callback(switch.close)
        door = Relay(switch.addresses[CONTROL], 80)
        stack.callback(door.close)
        store = f"s3://{BUCKET}/checkpoints" if bucket else f"file://{home}/checkpoints"
        if bucket:
            _serve_bucket(stack, switch.addresses[STORE])
        (home / "config.yaml").write_text(
            CONFIG.format(
                url=f"http://{switch.addresses[CONTROL]}", store=store, cloud=CLOUD, missed_s=MISSED_S,
                lease_s=LEASE_S, hosts=HOSTS,
            )
        )  # fmt: skip
        environment = _environment(folder, f"http://{switch.addresses[STORE]}:{STORE_PORT}")
        machines = NamespacedMachines(home / "simulated", switch, environment)
        stack.enter_context(_clouds(home, machines))
        url = stack.enter_context(_control_plane(home))
        door.target = int(url.rpartition(":")[2])
        yield World(home, url, switch, machines)


@contextmanager
def _network_of_our_own() -> Iterator[int]:
    """The second part of the hosts' addresses; other test runs on this machine have others."""
    for number in range(WORLDS):
        with Path(f"/tmp/gw-network-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield 77 + number
            return
    raise AssertionError(f"{WORLDS} worlds run on this machine already")


def _serve_bucket(stack: ExitStack, address: str) -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    stack.callback(server.stop)
    port = server.get_host_and_port()[1]
    door = Relay(address, STORE_PORT, port)
    stack.callback(door.close)
    httpx.put(f"http://127.0.0.1:{port}/{BUCKET}", trust_env=False).raise_for_status()


def _environment(folder: Path, store_url: str) -> dict[str, str]:
    """What machines start from: their image has a Python with agent, and beside it what stands in for Ray."""
    image = folder / "image"
    image.mkdir()
    for name, words in (("python", sys.executable), ("ray", f"{sys.executable} -S {_HERE / 'stand_in_ray.py'}")):
        (image / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (image / name).chmod(0o755)
    kept = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    base = processes.base_environment(folder)
    names = {"GODWIT_PYTHON": str(image / "python"), "AWS_ENDPOINT_URL": store_url, "GODWIT_HEALTH_POLL_S": "60"}
    return {**base, **kept, **KEYS, **names}


@contextmanager
def _clouds(home: Path, machines: NamespacedMachines) -> Iterator[None]:
    """The simulated clouds in this process, on machines of ours."""
    with patch.object(hosting, "HostedMachines", lambda _state_dir: machines):
        host = hosting.Host(home / "simulated", SystemClock(), random.SystemRandom())
    server = threading.Thread(target=clouds.serve, args=(host, 0), daemon=True)
    server.start()
    wait_for("the simulated clouds", 30, (home / "simulated" / "server.json").exists)
    try:
        yield
    finally:
        record = json.loads((home / "simulated" / "server.json").read_text())
        httpx.post(
            f"{record['url']}/stop", headers={"Authorization": f"Bearer {host.api_key}"}, timeout=60, trust_env=False
        )
        server.join(60)


@contextmanager
def _control_plane(home: Path) -> Iterator[str]:
    with (home / "control_plane.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "godwit.control_plane", "serve", "--home", str(home)], stdout=log, stderr=log
        )
    try:
        announced = home / "control_plane.json"
        wait_for("the control plane", 90, lambda: announced.exists() or process.poll() is not None)
        assert process.poll() is None, (home / "control_plane.log").read_text()
        yield str(json.loads(announced.read_text())["url"])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
