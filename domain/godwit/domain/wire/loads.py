"""How hard GPUs work, as agents tell it along with some of their heartbeats."""

from typing import Annotated

from godwit.domain.wire.pages import Message
from pydantic import Field

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class GpuLoad(Message):
    """One GPU at one instant.

    `busy_percent` is the share of the last sample period in which a kernel ran on it (`utilization.gpu` of nvidia-smi,
    DCGM_FI_DEV_GPU_UTIL), `memory_percent` the share of its memory that is taken; None: the driver does not say.
    `attempt_id` is the attempt that holds it alone; None where nobody does, and where several share it.
    """

    index: Annotated[int, Field(ge=0, le=1_023)]
    busy_percent: Percent
    memory_percent: Percent | None = None
    power_watts: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] | None = None
    attempt_id: Annotated[str, Field(max_length=64)] | None = None


class NodeLoad(Message):
    """One reading of all GPUs of a node that tell of it; `read_at` is the agent's own clock, and names the reading."""

    read_at: Annotated[float, Field(allow_inf_nan=False)]
    gpus: Annotated[list[GpuLoad], Field(max_length=128)]
