"""One name per GPU model, whatever a driver or a cloud calls it."""

import re
from dataclasses import dataclass

from godwit.domain import mig


@dataclass(frozen=True)
class _Chip:
    """A chip: the words that name it, its form factors (word: suffix) with the usual one, and its memory sizes."""

    pattern: str
    name: str
    forms: tuple[tuple[str, str], ...] = ()
    usual_form: str = ""
    sizes_gib: tuple[int, ...] = ()


_PCIE_SXM = (("NVL(?!INK)", "NVL"), ("PCI", "PCIe"), ("SXM|HBM|NVLINK", "SXM"))

_CHIPS = (
    _Chip(r"GB300", "GB300-NVL72"),
    _Chip(r"GB200", "GB200-NVL72"),
    _Chip(r"GH200", "GH200"),
    _Chip(r"B300", "B300"),
    _Chip(r"B200", "B200"),
    _Chip(r"H200", "H200", _PCIE_SXM, "SXM"),
    _Chip(r"H100", "H100", _PCIE_SXM, "SXM"),
    _Chip(r"A100", "A100", _PCIE_SXM[1:], "SXM", (40, 80)),
    _Chip(r"V100", "V100", sizes_gib=(16, 32)),
    _Chip(r"MI355X", "MI355X"),
    _Chip(r"MI350X", "MI350X"),
    _Chip(r"MI325X", "MI325X"),
    _Chip(r"MI300X", "MI300X"),
    _Chip(r"RTX ?PRO ?(SERVER ?)?6000", "RTXPRO6000"),
    _Chip(r"RTX ?6000 ?ADA", "RTX6000Ada"),
    _Chip(r"RTX ?5090", "RTX5090"),
    _Chip(r"RTX ?4090", "RTX4090"),
    _Chip(r"A6000", "A6000"),
    _Chip(r"L40S", "L40S"),
    _Chip(r"L40", "L40"),
    _Chip(r"L4", "L4"),
    _Chip(r"A10G", "A10G"),
    _Chip(r"A10", "A10"),
    _Chip(r"A40", "A40"),
    _Chip(r"T4", "T4"),
)
"""The most particular first: GB200 before B200. Spellings from nvidia-smi ("NVIDIA H100 80GB HBM3", "NVIDIA
A100-SXM4-80GB", "NVIDIA H100 NVL") and from the clouds' type lists of 2026 ("H100 (80 GB SXM5)", "gpu-h100-sxm",
"H100_NVLINK_80GB", "nvidia_h100", "RTX 6000 Ada", "amd_mi300x"). Where no form factor is told, SXM is the usual one."""


def normalise(name: str, memory_gib: float = 0.0) -> str | None:
    """The model behind a vendor's name, as in `resources.GPU_MODELS`; None for a GPU that godwit does not know.

    `memory_gib` per GPU decides between sizes that the name does not tell apart; the smaller one when it is not known.
    A slice ("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is called after its model and its profile (`mig`).
    """
    whole, profile = mig.split_driver_name(name)
    if profile is not None:
        model = normalise(whole)
        return None if model is None else mig.join(model, profile)
    words = re.sub(r"[^A-Z0-9]+", " ", name.upper()).strip()
    for chip in _CHIPS:
        if re.search(rf"(?<![A-Z0-9]){chip.pattern}(?![A-Z0-9])", words):
            return "-".join(filter(None, (chip.name, _size(chip, words, memory_gib), _form(chip, words))))
    return None


def _form(chip: _Chip, words: str) -> str:
    return next((form for word, form in chip.forms if re.search(word, words)), chip.usual_form)


def _size(chip: _Chip, words: str, memory_gib: float) -> str:
    if not chip.sizes_gib:
        return ""
    told = next((size for size in chip.sizes_gib if re.search(rf"(?<!\d){size} ?GB?(?![A-Z0-9])", words)), None)
    # Drivers show a little less than the label says: 79.2 GiB for an 80 GB card, 31.7 for 32.
    fits = [size for size in chip.sizes_gib if memory_gib <= size * 1.05]
    size = told or (fits[0] if fits else chip.sizes_gib[-1])
    return f"{size}GB"
