"""NVIDIA GPUs, as the driver shows them."""

from typing import Any

from godwit.domain import gpu_names
from godwit.domain.wire.agents import GpuFact

_BYTES_PER_GIB = 1024**3


def gpus() -> list[GpuFact]:
    """The GPUs of this machine; none without a driver. Other NVML errors get out: a broken driver is a fault."""
    import pynvml  # noqa: PLC0415 - a simulated node never needs it

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return []
    try:
        return [_fact(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _fact(nvml: Any, index: int) -> GpuFact:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory_gib = round(nvml.nvmlDeviceGetMemoryInfo(handle).total / _BYTES_PER_GIB, 1)
    name = nvml.nvmlDeviceGetName(handle)
    return GpuFact(
        index=index,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        model=gpu_names.normalise(name, memory_gib) or name,
        memory_gib=memory_gib,
    )
