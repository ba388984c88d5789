"""What the guard of an attempt does, and what its processes find in their environment, whatever kind it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from godwit.agents.dev import leading as desks
from godwit.agents.runtime import ray_cluster, serving
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.process import leading
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.domain.wire.agents import StartAttempt


@dataclass(frozen=True)
class Node:
    """What of its node an attempt is told; `criu` is how programs are saved there, if they are."""

    facts: NodeFacts
    machine_env: Mapping[str, str]
    criu: Sequence[str]


def steps(command: StartAttempt, folder: AttemptFolder, node: Node) -> list[dict[str, Any]]:
    """The guard's steps; what they read is left in the folder. Raises `SubmissionRefused`."""
    if command.process_saves:
        leading.prepare(command, folder, node.criu)
        return leading.steps(command, folder)
    if command.desk is not None:
        return desks.steps(command, folder, node.facts.python)
    return (
        serving.steps(command, folder) if serving.is_plain(command) else ray_cluster.steps(command, folder, node.facts)
    )


def environment(command: StartAttempt, folder: AttemptFolder, node: Node, secrets: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process of the attempt on this node, its secrets in it.

    They are in Ray's processes too: those start the program's workers, which have their environment from there. They
    are in no command, which lies on the disk, and in no step, which `ps` shows.
    """
    told = command.model_copy(update={"env": {**command.env, **secrets}})
    about = (told, folder, node.facts, node.machine_env)
    if command.desk is not None:
        return desks.environment(*about)
    is_without_ray = command.process_saves or serving.is_plain(command)
    return ray_cluster.without_ray(*about) if is_without_ray else ray_cluster.environment(*about)
