"""Slices of a GPU are devices of their own: asked for by profile, and by nobody else."""

import pytest
from godwit.domain import mig
from godwit.domain.errors import InvalidRequest
from godwit.domain.gpu_names import normalise
from godwit.domain.resources import GpuAsk, parse_gpus


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "H100-SXM-MIG-1g.10gb"),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", "A100-80GB-SXM-MIG-3g.40gb"),
        ("NVIDIA H100 PCIe MIG 1g.10gb+me", "H100-PCIe-MIG-1g.10gb+me"),
    ],
)
def test_a_slice_is_called_after_its_model_and_its_profile(spelt: str, name: str) -> None:
    assert normalise(spelt, 9.8) == name


def test_one_asks_for_a_slice_by_family_and_profile() -> None:
    ask = parse_gpus("h100-MIG-1g.10gb:2")
    assert ask == GpuAsk(2, ("H100-MIG-1g.10gb",))
    assert ask.accepts("H100-SXM-MIG-1g.10gb", 9.8)
    assert not ask.accepts("H100-SXM-MIG-2g.20gb", 19.7)
    assert not ask.accepts("H100-SXM", 80)


@pytest.mark.parametrize("ask", [GpuAsk(1, ("H100",)), GpuAsk(1), GpuAsk(1, memory_gib_min=8)])
def test_who_asks_for_a_gpu_does_not_get_a_slice(ask: GpuAsk) -> None:
    assert ask.accepts("H100-SXM", 80)
    assert not ask.accepts("H100-SXM-MIG-1g.10gb", 9.8)


def test_a_slice_is_not_shared() -> None:
    with pytest.raises(InvalidRequest, match="given out whole"):
        parse_gpus("H100-MIG-1g.10gb:0.5")


def test_a_slice_has_its_share_of_the_compute_units() -> None:
    assert mig.share("H100-SXM-MIG-3g.40gb") == pytest.approx(3 / 7)
    assert mig.share("H100-SXM") == 1
