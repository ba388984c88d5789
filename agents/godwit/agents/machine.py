"""What this machine is, for the introduction to the control plane."""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from godwit.agents.accelerators import fake, nvml
from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.process.probe import Abilities
from godwit.agents.settings import Settings
from godwit.domain import mig
from godwit.domain.wire.agents import GpuFact, JoinRequest
from pydantic import TypeAdapter

_KIB_PER_GIB = 1024 * 1024
_GPUS = TypeAdapter(list[GpuFact])


def introduce(
    agent_id: str, settings: Settings, version: str, abilities: Abilities, confinement: str = ""
) -> JoinRequest:
    """The facts of this machine as the join request says them; `confinement`: as whom programs run here."""
    return JoinRequest(
        agent_id=agent_id,
        hostname=socket.gethostname()[:255],
        address=settings.address,
        agent_version=version,
        cpus=os.cpu_count() or 1,
        memory_gib=memory_gib(),
        gpus=gpus(settings),
        no_process_saves=abilities.no_saves,
        no_gpu_process_saves=abilities.no_gpu_saves,
        confinement=confinement,
    )


def gpus(settings: Settings) -> list[GpuFact]:
    """The node's GPUs: the fake ones where there are such, else what the driver shows."""
    return nvml.gpus() if settings.fake_gpus is None else fake.gpus(settings.fake_gpus)


def devices(gpus: Sequence[GpuFact]) -> dict[int, str]:
    """By which names CUDA finds the GPUs, where their numbers will not do: on a node with slices (MIG)."""
    return {gpu.index: gpu.uuid for gpu in gpus} if any(mig.split(gpu.model)[1] for gpu in gpus) else {}


def joined_gpus(settings: Settings) -> list[GpuFact]:
    """The GPUs that the node joined with; what the driver shows now, for a node that joined before such was kept."""
    path = settings.node_dir / "gpus.json"
    return _GPUS.validate_json(path.read_bytes()) if path.exists() else gpus(settings)


def remember_devices(node_dir: Path, gpus: Sequence[GpuFact]) -> None:
    """Keep what the node joined with: an agent that takes over must not depend on a driver that may be sick by then."""
    write_whole(node_dir / "gpus.json", _GPUS.dump_json(list(gpus)).decode())
    write_whole(node_dir / "devices.json", json.dumps(devices(gpus)))


def known_devices(node_dir: Path) -> dict[int, str]:
    """What was kept; nothing for a node that joined before such was kept."""
    path = node_dir / "devices.json"
    return {int(index): uuid for index, uuid in json.loads(path.read_text()).items()} if path.exists() else {}


def memory_gib() -> float:
    """The machine's memory, from /proc/meminfo; 0 when it does not say."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / _KIB_PER_GIB, 2)
    return 0.0
