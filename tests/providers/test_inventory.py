"""What this machine has to offer."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from godwit.providers.local import inventory


class Nvml(ModuleType):
    """Stands in for the driver's library: two H100s, the second of which may have fallen off the bus."""

    class NVMLError(Exception):
        """What every call raises."""

    NVMLError_NotSupported = NVMLError_FunctionNotFound = NVMLError_NotFound = NVMLError
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, *, healthy: bool, slices: int = 0) -> None:
        super().__init__("pynvml")
        self.healthy, self.slices = healthy, slices
        self.open = False

    def nvmlInit(self) -> None:  # noqa: N802 - the library's own names
        self.open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index == 1 and not self.healthy:
            raise self.NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetMigMode(self, _handle: int) -> list[int]:  # noqa: N802
        return [int(self.slices > 0), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle: int) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: int, index: int) -> int:  # noqa: N802
        if index >= self.slices:
            raise self.NVMLError_NotFound("no such slice")
        return handle * 10 + index

    def nvmlDeviceGetName(self, _handle: int) -> str:  # noqa: N802
        return "NVIDIA H100 80GB HBM3" + (" MIG 1g.10gb" if self.slices else "")

    def nvmlDeviceGetMemoryInfo(self, _handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=80 * 2**30)


@pytest.mark.parametrize("healthy", [True, False])
def test_gpus_are_offered_only_when_all_of_them_answer(healthy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(healthy=healthy)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    stock = inventory.take()
    assert (stock.gpu_model, stock.gpu_count) == (("H100-SXM", 2) if healthy else (None, 0))
    assert not nvml.open


def test_what_is_offered_of_gpus_that_are_cut_are_their_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(healthy=True, slices=3))
    stock = inventory.take()
    assert (stock.gpu_model, stock.gpu_count) == ("H100-SXM-MIG-1g.10gb", 6)


def test_this_machine_has_cpus_and_memory() -> None:
    stock = inventory.take()
    assert stock.cpus >= 1
    assert stock.memory_gib > 0
    assert (stock.gpu_model is None) == (stock.gpu_count == 0)
