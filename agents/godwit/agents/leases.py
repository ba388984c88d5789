"""Until when what runs here may go on without a word from the control plane; pure.

A program has the lease: once it is over the control plane gives its work to another node, and two must never do it. Two
replicas of a service do no harm, while one that ends for no reason does: gateways serve by the routes that they knew
last, for as long as there is somebody at their ends.
"""

from pathlib import Path

from godwit.domain.wire.agents import StartAttempt

REPLICA_S = 3_600.0
"""How long past the lease a replica serves on: far longer than a control plane is down, and an end for what a node that
is cut off for good would do for ever."""


def beyond_s(command: StartAttempt | None) -> float:
    """How long past the lease of its node an attempt may run."""
    return REPLICA_S if command is not None and command.serve is not None else 0.0


def path(lease_path: Path, command: StartAttempt) -> Path:
    """The file in which the guard of this attempt reads until when it may run, beside that of the node."""
    return of_replicas(lease_path) if beyond_s(command) else lease_path


def of_replicas(lease_path: Path) -> Path:
    """The file for replicas, beside that of the node."""
    return lease_path.with_name(lease_path.name + "-of-replicas")
