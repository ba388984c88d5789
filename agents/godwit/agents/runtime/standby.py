"""A Ray that stands by: a fresh head on an idle node, which the next attempt that fits takes over whole.

It is composed like the head of an attempt (`ray_cluster`), for an attempt of nobody. What an attempt brings of its own
reaches its program, and the workers that the program asks Ray for, as the Ray job's environment.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from godwit.agents.runtime import ray_cluster, serving
from godwit.agents.runtime.folder import AttemptFolder, StoodBy
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.runtime.ray_job import RayJob
from godwit.domain.errors import GodwitError
from godwit.domain.resources import WHOLE_GPU_MILLI
from godwit.domain.wire.agents import Peer, StartAttempt

SHELF = "standby"
"""Where its folder lies beside `attempts`."""

PORTS = range(30_000, 32_760, 5)
"""Above what the planner gives to attempts (20000 to 29999), below Linux's ephemeral ports (32768 on)."""

_TAKEN_OVER = 4
"""How many ports of a block a head uses: GCS, dashboard, client, and one for the program."""

_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_OF_PROCESSES = ("CUDA_VISIBLE_DEVICES", "LD_", "RAY_")
"""What the processes of a Ray must have from their start."""


class NoPort(GodwitError):
    """Every port on which a Ray might stand by is taken."""


def stranger(command: StartAttempt, gpus: Sequence[int]) -> str:
    """Say why an attempt starts a Ray of its own on the node with these GPUs; nothing when it takes the one there is.

    Ray's resources are fixed at its start: what stands by has the whole node.
    """
    if command.process_saves or serving.is_plain(command):
        return "it runs without Ray"
    if command.serve is not None:
        return "a replica outlives the lease, to which the guard of what stands by holds"
    if len(command.peers) != 1 or command.rank != 0 or command.bends or command.joins:
        return "other nodes take part, and know the head by the port and token of the attempt"
    if sorted(command.gpus) != sorted(gpus) or command.gpu_milli != WHOLE_GPU_MILLI:
        return "it has a part of the node's GPUs only"
    if command.setup:
        return "its set-up comes before Ray, and may change what Ray runs on"
    return _kept_out(command)


def _kept_out(command: StartAttempt) -> str:
    if command.has_secrets:
        return "it has secrets, and Ray writes the environment of its jobs down"
    for name, value in command.env.items():
        if name.startswith(_OF_PROCESSES):
            return f"Ray's own processes are to have {name} from their start"
        if any(word in name.upper() for word in _SECRET):
            return f"{name} may be secret, and Ray writes the environment of its jobs down"
        if "$" in value:
            return f"Ray would replace what follows the $ in {name}"
    return ""


def composed(name: str, stood_by: StoodBy, facts: NodeFacts, gpus: Sequence[int]) -> StartAttempt:
    """The head that stands by, as the start of an attempt that no job has."""
    return StartAttempt(
        intent_id=name,
        job_id=name,
        job_name=name,
        attempt_id=name,
        epoch=0,
        rank=0,
        peers=[Peer(rank=0, node_id=name, address=facts.address)],
        gpus=list(gpus),
        port=stood_by.port,
        ray_token=stood_by.token,
        run="",
        setup=None,
        workdir_digest=None,
        env={},
        store="",
    )


def steps(command: StartAttempt, folder: AttemptFolder, facts: NodeFacts) -> list[dict[str, Any]]:
    """What its guard does, with paths that stay true when the folder is renamed."""
    (ray,) = ray_cluster.steps(command, folder, facts)
    return [ray | {"cwd": folder.workdir.name, "log": folder.ray_log.name}]


def environment(
    command: StartAttempt, folder: AttemptFolder, facts: NodeFacts, machine_env: Mapping[str, str]
) -> dict[str, str]:
    """The environment of its processes: nothing of an attempt but the mark by which they are known."""
    env = ray_cluster.environment(command, folder, facts, machine_env)
    of_an_attempt = ray_cluster.given(command, folder).keys() - {"GODWIT_RUN_DIR"}
    return {name: value for name, value in env.items() if name.startswith("RAY_") or name not in of_an_attempt}


def job(command: StartAttempt, folder: AttemptFolder, going_on: Callable[[], bool]) -> RayJob:
    """The Ray job of an attempt: on the Ray that it took, under that one's port and token, or on one of its own."""
    stood_by = folder.stood_by()
    if stood_by is None:
        return RayJob(command, folder, going_on)
    taken = command.model_copy(update={"port": stood_by.port, "ray_token": stood_by.token})
    return RayJob(taken, folder, going_on, variables(taken, folder))


def variables(command: StartAttempt, folder: AttemptFolder) -> dict[str, str]:
    """What the Ray job's environment must say, since Ray's processes were started without it."""
    own = {name: value for name, value in ray_cluster.given(command, folder).items() if not name.startswith("RAY_")}
    # A program that gives `ray.init` an environment of its own gets that, as it would from a Ray of its attempt's own.
    return own | {"RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}


def free_port(address: str) -> int:
    """The first of a block of ports of which a head finds all free on `address`; raises `NoPort`."""
    for port in PORTS:
        if all(_is_free(address, port + index) for index in range(_TAKEN_OVER)):
            return port
    raise NoPort(f"no ports are free on {address} from {PORTS.start} to {PORTS.stop}: see what listens there")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((address, port))
        except OSError:
            return False
    return True
