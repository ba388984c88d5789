"""How an attempt's own Ray cluster is started on a node: steps for the guard, and the environment of its processes.

Pure: it composes, others carry out. The flags follow from several clusters sharing one machine without meeting.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from godwit.agents.runtime.folder import RAY_IS_UP, AttemptFolder
from godwit.domain import tracing
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.domain.wire.agents import StartAttempt

HEAD_WAIT_S = 600.0
"""How long a worker waits for the head's port: as long as an attempt may take to start, since set-up runs before."""

_STARTS = {"up": RAY_IS_UP, "late": "timed out during startup", "again_after_s": (2.0, 5.0)}
"""Ray gives its processes 30 s to start, a constant (Ray 2.60, `_private/node.py`, whose words `late` are). A machine
that reads Ray from its disk for the first time, or is busy, takes longer; the next try finds it in memory."""

_TURN = str(Path(tempfile.gettempdir()) / "godwit-ray-starts.lock")
"""Simulated nodes share a machine, and Rays that start on it at once make each other late."""

_SIMULATED_STORE_BYTES = 80_000_000
"""Ray's object store on a simulated node: the least that Ray takes is 75 MiB, and nodes share the machine's memory."""

_HEALTH = {
    # A dead node is seen in 5 s (Ray's defaults: 16 s), one that does not answer in 15 s: as long as an agent's lease.
    # godwit hears of most before; a busy node that is silent for a moment, above all while it starts, must not cost an
    # attempt. A connection cut in silence heals in about 10 s.
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "2000",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DASHBOARD_METRIC_PORT": "0",  # any free one: the fixed one is taken by the machine's first head
}

_OUTPUT = {
    "PYTHONUNBUFFERED": "1",
    "RAY_COLOR_PREFIX": "0",  # the log is a file, not a terminal
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # Ray Train's `print` writes each line twice once a driver shows its workers
}


@dataclass(frozen=True)
class NodeFacts:
    """What the cluster is told of this node. `devices`: UUIDs by which CUDA finds GPUs that have no number there."""

    address: str
    cpus: int
    python: str
    simulated: bool
    devices: Mapping[int, str] = field(default_factory=dict)


def head_address(command: StartAttempt) -> str:
    """The address of rank 0."""
    return min(command.peers, key=lambda peer: peer.rank).address


def dashboard_url(command: StartAttempt) -> str:
    """Where the cluster's REST API answers."""
    return f"http://{head_address(command)}:{command.port + 1}"


def steps(command: StartAttempt, folder: AttemptFolder, facts: NodeFacts) -> list[dict[str, Any]]:
    """What the guard does on this node, in order."""
    todo: list[dict[str, Any]] = []
    if command.setup:
        argv = ["sh", "-c", command.setup]
        todo.append({"name": "setup", "argv": argv, "cwd": str(folder.workdir), "log": str(folder.output)})
    if command.rank != 0:
        todo.append({"name": "wait", "connect": [head_address(command), command.port], "timeout_s": HEAD_WAIT_S})
    argv = _ray_start(command, folder, facts)
    starts = {**_STARTS, "turn": _TURN if facts.simulated else ""}
    todo.append({"name": "ray", "argv": argv, "cwd": str(folder.workdir), "log": str(folder.ray_log), "starts": starts})
    return todo


def _ray_start(command: StartAttempt, folder: AttemptFolder, facts: NodeFacts) -> list[str]:
    ray = str(Path(facts.python).parent / "ray")
    argv = [
        ray, "start", "--block", "--disable-usage-stats", "--log-style=record",
        f"--node-ip-address={facts.address}", f"--temp-dir={folder.ray}",
        f"--num-cpus={facts.cpus}", f"--num-gpus={len(command.gpus)}",
        "--dashboard-agent-listen-port=0",  # a fixed port costs the second node of a machine 5 s
        # Any free port: Ray's own range, 10002 to 19999, refuses to start when another flag names a port in it.
        "--min-worker-port=0", "--max-worker-port=0",
    ]  # fmt: skip
    if facts.simulated:
        argv.append(f"--object-store-memory={_SIMULATED_STORE_BYTES}")
    if command.rank != 0:
        return [*argv, f"--address={head_address(command)}:{command.port}"]
    return [
        *argv, "--head", f"--port={command.port}", f"--dashboard-host={facts.address}",
        f"--dashboard-port={command.port + 1}", f"--ray-client-server-port={command.port + 2}",
        "--no-monitor",  # Ray's autoscaler: godwit decides how many nodes there are
    ]  # fmt: skip


def environment(
    command: StartAttempt, folder: AttemptFolder, facts: NodeFacts, machine_env: Mapping[str, str]
) -> dict[str, str]:
    """The environment of every process of the attempt on this node: the machine's, the job's, and what godwit sets.

    The agent's own credentials and settings are left out: the program is the user's.
    """
    kept = {k: v for k, v in machine_env.items() if k not in _AGENT_ONLY and not k.startswith("RAY_")}
    path = f"{Path(facts.python).parent}{os.pathsep}{machine_env.get('PATH', os.defpath)}"
    env = {**kept, "PATH": path, **_HEALTH, **_OUTPUT}
    if facts.address.startswith("127."):
        env["GLOO_SOCKET_IFNAME"] = "lo"
    if command.gpus:
        # A slice has no number of its own in CUDA: where there are such, devices go by their UUIDs.
        env["CUDA_VISIBLE_DEVICES"] = ",".join(facts.devices.get(gpu, str(gpu)) for gpu in command.gpus)
    return env | given(command, folder)


def without_ray(
    command: StartAttempt, folder: AttemptFolder, facts: NodeFacts, machine_env: Mapping[str, str]
) -> dict[str, str]:
    """The same for an attempt that has no cluster: a plain process, a box with its set-up, a desk."""
    env = environment(command, folder, facts, machine_env)
    return {name: value for name, value in env.items() if not name.startswith("RAY_")}


def given(command: StartAttempt, folder: AttemptFolder) -> dict[str, str]:
    """What the attempt adds to its machine's environment: the job's own, and what godwit tells its program."""
    share = command.gpu_milli / WHOLE_GPU_MILLI
    # JAX would take three quarters of the GPU's memory at its start (docs.jax.dev, "GPU memory allocation").
    shares = {"GODWIT_GPU_SHARE": f"{share:g}", "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * share:.3f}"}
    # The program's own spans, if it makes any, are part of the job's trace.
    trace = {tracing.ENVIRONMENT: str(tracing.root_of(tracing.of_job(command.job_id)))}
    return {**trace, **(shares if share < 1 else {}), **command.env, **_names(command, folder)}


_AGENT_ONLY = frozenset(
    {
        "GODWIT_JOIN_TOKEN",
        "GODWIT_TOKEN",
        "GODWIT_URL",
        "GODWIT_FAKE_GPUS",
        "GODWIT_NODE_DIR",
        "GODWIT_CONFINE",
        "GODWIT_CRIU",
        "GODWIT_METRICS",
        "GODWIT_SPOT",
        "GODWIT_TLS",
        "GODWIT_WARM_RAY",
    }
)


def _names(command: StartAttempt, folder: AttemptFolder) -> dict[str, str]:
    addresses = "\n".join(peer.address for peer in sorted(command.peers, key=lambda peer: peer.rank))
    rank, nodes, head = str(command.rank), str(len(command.peers)), head_address(command)
    return {
        "GODWIT_JOB_ID": command.job_id,
        "GODWIT_JOB_NAME": command.job_name,
        "GODWIT_ATTEMPT_ID": command.attempt_id,
        "GODWIT_EPOCH": str(command.epoch),
        "GODWIT_NODE_RANK": rank,
        "GODWIT_NUM_NODES": nodes,
        "GODWIT_NODE_IPS": addresses,
        "GODWIT_CHECKPOINT_DIR": str(folder.checkpoints),
        "GODWIT_RUN_DIR": str(folder.run),
        "GODWIT_STORAGE_URL": command.store,
        "GODWIT_CHECKPOINT_INTERVAL_S": f"{command.saving.interval_s:g}",
        "NODE_RANK": rank,
        "NUM_NODES": nodes,
        "NODE_IPS": addresses,
        "MASTER_ADDR": head,
        "MASTER_PORT": str(command.port + 3),
        "RAY_ADDRESS": f"{head}:{command.port}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": command.ray_token,
    }
