"""NVIDIA GPUs, as the driver shows them."""

import contextlib
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
        return facts(pynvml)
    finally:
        pynvml.nvmlShutdown()


def facts(nvml: Any) -> list[GpuFact]:
    """Every device that a program may be given: whole GPUs, and each slice of those that are cut into such (MIG)."""
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    devices = [device for handle in handles for device in _slices(nvml, handle) or [handle]]
    return [_fact(nvml, index, device) for index, device in enumerate(devices)]


def _slices(nvml: Any, handle: Any) -> list[Any]:
    try:
        if nvml.nvmlDeviceGetMigMode(handle)[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return []
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return []
    found = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with contextlib.suppress(nvml.NVMLError_NotFound):  # numbers of slices have gaps
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    return found


def _fact(nvml: Any, index: int, handle: Any) -> GpuFact:
    memory_gib = round(nvml.nvmlDeviceGetMemoryInfo(handle).total / _BYTES_PER_GIB, 1)
    name = nvml.nvmlDeviceGetName(handle)
    return GpuFact(
        index=index,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        model=gpu_names.normalise(name, memory_gib) or name,
        memory_gib=memory_gib,
    )
