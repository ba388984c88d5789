"""How fast one GPU model is beside another, as far as data sheets tell."""

from functools import lru_cache

from godwit.domain import mig
from godwit.domain.resources import is_of_family

TFLOPS = {
    "T4": 65.0, "V100-16GB": 125.0, "V100-32GB": 125.0, "A10": 125.0, "A10G": 70.0, "A40": 149.7, "A6000": 154.8,
    "L4": 121.0, "L40": 181.0, "L40S": 362.0, "RTX6000Ada": 364.0, "A100-40GB-PCIe": 312.0, "A100-40GB-SXM": 312.0,
    "A100-80GB-PCIe": 312.0, "A100-80GB-SXM": 312.0, "H100-PCIe": 756.0, "H100-SXM": 989.0, "H100-NVL": 835.0,
    "H200-SXM": 989.0, "H200-NVL": 835.0, "GH200": 989.0, "B200": 2250.0, "B300": 2250.0, "GB200-NVL72": 2500.0,
    "GB300-NVL72": 2500.0, "RTX4090": 165.2, "RTX5090": 209.5, "MI300X": 1307.0, "MI325X": 1307.0, "MI350X": 2307.0,
    "MI355X": 2517.0,
}  # fmt: skip
"""Peak of dense BF16 in TFLOPS, from the vendors' data sheets; FP16 for T4 and V100, which have no BF16. A peak is no
throughput, but the ratio of two peaks is the best guess before anything was measured."""


@lru_cache(maxsize=1024)  # asked for every offer of every ask
def relative(model: str | None, wanted: tuple[str, ...]) -> float:
    """How fast `model` works beside the fastest of the first family that is wanted; 1 where nobody can tell.

    A model without a figure is taken to be as slow as the slowest that is wanted. Who names no model is taken not to
    gain from a faster one.
    """
    if model is None or not wanted:
        return 1.0
    first = max(_of(wanted[:1]), default=0.0)
    whole = mig.split(model)[0]
    own = TFLOPS.get(whole, min(_of(wanted), default=0.0) / mig.share(model)) * mig.share(model)
    return own / first if first and own else 1.0


def _of(wanted: tuple[str, ...]) -> list[float]:
    """Of every model that is of one of these families; a slice has its share of the compute units."""
    families = [(mig.split(name)[0], mig.share(name)) for name in wanted]
    return [speed * share for model, speed in TFLOPS.items() for name, share in families if is_of_family(model, name)]
