"""Drivers and clouds spell a GPU in many ways; godwit in one."""

import pytest
from godwit.domain.gpu_names import normalise
from godwit.domain.resources import GPU_MODELS


@pytest.mark.parametrize(
    ("spelt", "memory_gib", "model"),
    [
        ("NVIDIA H100 80GB HBM3", 79.6, "H100-SXM"),
        ("NVIDIA H100 NVL", 93.6, "H100-NVL"),
        ("NVIDIA H100 PCIe", 79.6, "H100-PCIe"),
        ("H100 (80 GB SXM5)", 80, "H100-SXM"),
        ("gpu-h100-sxm", 80, "H100-SXM"),
        ("H100_NVLINK_80GB", 80, "H100-SXM"),
        ("H100-80G-PCIe", 80, "H100-PCIe"),
        ("nvidia_h100", 80, "H100-SXM"),
        ("NVIDIA H200", 140.4, "H200-SXM"),
        ("NVIDIA A100-SXM4-80GB", 79.2, "A100-80GB-SXM"),
        ("NVIDIA A100-PCIE-40GB", 39.4, "A100-40GB-PCIe"),
        ("A100 (40 GB PCIe)", 40, "A100-40GB-PCIe"),
        ("A100", 80, "A100-80GB-SXM"),
        ("NVIDIA H200 NVL", 141, "H200-NVL"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "A100-40GB-SXM"),
        ("NVIDIA A100 80GB PCIe", 79.2, "A100-80GB-PCIe"),
        ("Tesla T4", 14.6, "T4"),
        ("Tesla V100-SXM2-16GB", 15.8, "V100-16GB"),
        ("Tesla V100-SXM2", 31.7, "V100-32GB"),
        ("GB200", 186, "GB200-NVL72"),
        ("NVIDIA GH200 480GB", 95.6, "GH200"),
        ("RTX 4090", 24, "RTX4090"),
        ("NVIDIA GeForce RTX 5090", 31.8, "RTX5090"),
        ("RTX 6000 Ada", 48, "RTX6000Ada"),
        ("RTX PRO 6000 Blackwell Server Edition", 96, "RTXPRO6000"),
        ("RTX PRO Server 6000", 96, "RTXPRO6000"),
        ("NVIDIA RTX A6000", 48, "A6000"),
        ("NVIDIA L40S", 44.7, "L40S"),
        ("NVIDIA L4", 22.0, "L4"),
        ("NVIDIA A10G", 22.1, "A10G"),
        ("amd_mi300x", 192, "MI300X"),
        ("AMD Instinct MI300X OAM", 192, "MI300X"),
        ("NVIDIA B300 SXM6 AC", 288, "B300"),
        ("NVIDIA RTX 6000 Ada Generation", 48, "RTX6000Ada"),
        ("nvidia_rtx6000_ada", 48, "RTX6000Ada"),
        ("nvidia_l40s", 48, "L40S"),
    ],
)
def test_a_spelling_is_known(spelt: str, memory_gib: float, model: str) -> None:
    assert normalise(spelt, memory_gib) == model


@pytest.mark.parametrize("model", GPU_MODELS)
def test_every_model_is_its_own_name(model: str) -> None:
    assert normalise(model) == model


@pytest.mark.parametrize("spelt", ["", "NVIDIA Quadro K620", "Radeon Pro", "H1000", "GTX 1080 Ti"])
def test_what_is_not_known_is_not_guessed(spelt: str) -> None:
    assert normalise(spelt, 8) is None
