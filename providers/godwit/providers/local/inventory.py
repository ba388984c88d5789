"""What this machine has: CPUs, memory, and the GPUs that its NVIDIA driver shows."""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
from godwit.domain import gpu_names


@dataclass(frozen=True)
class Inventory:
    """CPUs, memory in GiB, and GPUs: all of one model, `gpu_memory_gib` each."""

    cpus: int
    memory_gib: float
    gpu_model: str | None = None
    gpu_count: int = 0
    gpu_memory_gib: float = 0.0


def take() -> Inventory:
    """Look at this machine; blocks for the driver's start (up to a second). No driver means no GPU."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_gib = round(psutil.virtual_memory().total / 2**30, 1)
    gpus = _gpus()
    if not gpus:
        return Inventory(cpus, memory_gib)
    model, gpu_memory_gib = gpus[0]
    same = [gpu for gpu in gpus if gpu[0] == model]  # an offer names one model; a mixed machine offers its first
    return Inventory(cpus, memory_gib, model, len(same), gpu_memory_gib)


def _gpus() -> list[tuple[str, float]]:
    try:
        import pynvml  # noqa: PLC0415 - absent on a machine that was set up without GPUs
    except ModuleNotFoundError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []  # no driver, or one that does not answer: nothing here could use a GPU
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        devices = [device for handle in handles for device in _slices(pynvml, handle) or [handle]]
        return [_gpu(pynvml.nvmlDeviceGetName(d), pynvml.nvmlDeviceGetMemoryInfo(d).total) for d in devices]
    except pynvml.NVMLError:
        return []  # a GPU that fell off the bus: what cannot be asked cannot be offered
    finally:
        pynvml.nvmlShutdown()


def _slices(nvml: Any, handle: Any) -> list[Any]:
    """The slices of a GPU that is cut into such (MIG); numbers of slices have gaps."""
    try:
        is_cut = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return []
    found = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if is_cut else 0):
        with suppress(nvml.NVMLError_NotFound):
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index))
    return found


def _gpu(name: str | bytes, memory_bytes: int) -> tuple[str, float]:
    text = name.decode() if isinstance(name, bytes) else name
    memory_gib = round(memory_bytes / 2**30, 1)
    # A GPU that godwit does not know keeps its maker's name: it can still be asked for by memory.
    return gpu_names.normalise(text, memory_gib) or text.removeprefix("NVIDIA ").replace(" ", "-"), memory_gib
