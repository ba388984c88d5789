"""What this machine is, for the introduction to the control plane."""

import os
import socket
from pathlib import Path

from godwit.agents.accelerators import fake, nvml
from godwit.agents.settings import Settings
from godwit.domain.wire.agents import GpuFact, JoinRequest

_KIB_PER_GIB = 1024 * 1024


def introduce(agent_id: str, settings: Settings, version: str) -> JoinRequest:
    """The facts of this machine as the join request says them."""
    return JoinRequest(
        agent_id=agent_id,
        hostname=socket.gethostname()[:255],
        address=settings.address,
        agent_version=version,
        cpus=os.cpu_count() or 1,
        memory_gib=memory_gib(),
        gpus=gpus(settings),
    )


def gpus(settings: Settings) -> list[GpuFact]:
    """The node's GPUs: the fake ones where there are such, else what the driver shows."""
    return nvml.gpus() if settings.fake_gpus is None else fake.gpus(settings.fake_gpus)


def memory_gib() -> float:
    """The machine's memory, from /proc/meminfo; 0 when it does not say."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / _KIB_PER_GIB, 2)
    return 0.0
