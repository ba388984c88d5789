"""What NVIDIA calls a GPU, and what godwit calls it."""

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


def test_this_machine_has_cpus_and_memory() -> None:
    stock = inventory.take()
    assert stock.cpus >= 1
    assert stock.memory_gib > 0
    assert (stock.gpu_model is None) == (stock.gpu_count == 0)
