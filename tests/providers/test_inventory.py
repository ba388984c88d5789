"""What NVIDIA calls a GPU, and what godwit calls it."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from godwit.domain.resources import GPU_MODELS
from godwit.providers.local import inventory


@pytest.mark.parametrize(
    ("name", "memory_gib", "model"),
    [
        ("NVIDIA H100 80GB HBM3", 80, "H100-SXM"),
        ("NVIDIA H100 PCIe", 80, "H100-PCIe"),
        ("NVIDIA H100 NVL", 94, "H100-NVL"),
        ("NVIDIA H200", 141, "H200-SXM"),
        ("NVIDIA H200 NVL", 141, "H200-NVL"),
        ("NVIDIA A100-SXM4-80GB", 80, "A100-80GB-SXM"),
        ("NVIDIA A100-SXM4-40GB", 40, "A100-40GB-SXM"),
        ("NVIDIA A100 80GB PCIe", 80, "A100-80GB-PCIe"),
        ("NVIDIA L40S", 45, "L40S"),
        ("NVIDIA A10G", 22, "A10G"),
        ("Tesla T4", 15, "T4"),
    ],
)
def test_known_gpus_get_a_name_of_the_vocabulary(name: str, memory_gib: float, model: str) -> None:
    assert inventory.model_of(name, int(memory_gib * 2**30)) == model
    assert model in GPU_MODELS


def test_an_unknown_gpu_keeps_the_vendors_name() -> None:
    assert inventory.model_of("NVIDIA GeForce RTX 9090", 2**35) == "GeForce-RTX-9090"


class Nvml(ModuleType):
    """Stands in for the driver's library: two H100s, the second of which may have fallen off the bus."""

    class NVMLError(Exception):
        """What every call raises."""

    def __init__(self, *, healthy: bool) -> None:
        super().__init__("pynvml")
        self.healthy = healthy
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

    def nvmlDeviceGetName(self, _handle: int) -> str:  # noqa: N802
        return "NVIDIA H100 80GB HBM3"

    def nvmlDeviceGetMemoryInfo(self, _handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=80 * 2**30)


@pytest.mark.parametrize("healthy", [True, False])
def test_gpus_are_offered_only_when_all_of_them_answer(healthy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(healthy=healthy)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    stock = inventory.take()
    assert (stock.gpu_model, stock.gpu_count) == (("H100-SXM", 2) if healthy else (None, 0))
    assert not nvml.open


def test_this_machine_has_cpus_and_memory() -> None:
    stock = inventory.take()
    assert stock.cpus >= 1
    assert stock.memory_gib > 0
    assert (stock.gpu_model is None) == (stock.gpu_count == 0)
