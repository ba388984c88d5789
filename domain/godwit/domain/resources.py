"""What work asks for: GPUs by model, count or memory, per node."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from godwit.domain import mig
from godwit.domain.errors import InvalidRequest, Problem

GPU_MODELS: tuple[str, ...] = (
    "T4", "V100-16GB", "V100-32GB", "A10", "A10G", "A40", "A6000", "L4", "L40", "L40S", "RTX6000Ada",
    "A100-40GB-PCIe", "A100-40GB-SXM", "A100-80GB-PCIe", "A100-80GB-SXM", "H100-PCIe", "H100-SXM", "H100-NVL",
    "H200-SXM", "H200-NVL", "GH200", "B200", "B300", "GB200-NVL72", "GB300-NVL72", "RTX4090", "RTX5090",
    "RTXPRO6000", "MI300X", "MI325X", "MI350X", "MI355X",
)  # fmt: skip
"""Normalised model names: the chip, then memory and form factor where a chip has several. From vendors' data sheets."""

MAX_GPUS_PER_NODE = 16
"""The largest single machine on the market (16 GPUs: HGX-2 and its kin); offers narrow this further."""

_ASK = re.compile(
    r"^\s*([A-Za-z][A-Za-z0-9-]*?(?:-(?:MIG|mig)-" + mig.PROFILE + r")?)\s*(?::\s*(-?\d+|0?\.\d{1,3}))?\s*$"
)

WHOLE_GPU_MILLI = 1000
"""A GPU in thousandths: shares are whole numbers, so that sums of them are exact."""

MIN_SHARE_MILLI = 50
"""The smallest share: twenty programs on one GPU already take turns in time slices of a millisecond or two each."""


@dataclass(frozen=True)
class GpuAsk:
    """GPUs wanted on each node: `count` of any one of `models`. Zero count means a machine without a GPU will do.

    `models` are families or full names ("H100" accepts H100-SXM, H100-PCIe and H100-NVL), in order of preference;
    empty accepts any. `memory_gib_min` bounds each GPU's own memory from below. `milli` below 1000 is a share of one
    GPU, in thousandths; nothing but the program itself keeps it to that share.
    """

    count: int = 0
    models: tuple[str, ...] = ()
    memory_gib_min: float = 0.0
    milli: int = WHOLE_GPU_MILLI

    def accepts(self, model: str, memory_gib: float) -> bool:
        """Whether a GPU of this model and memory will do."""
        return memory_gib >= self.memory_gib_min and is_accepted(model, self.models)

    def __str__(self) -> str:
        if self.count == 0:
            return "no GPU"
        names = "|".join(self.models) or (f"{self.memory_gib_min:g}GB+" if self.memory_gib_min else "any")
        return f"{names}:{self.count if self.milli == WHOLE_GPU_MILLI else self.milli / WHOLE_GPU_MILLI:g}"


def is_of_family(model: str, wanted: str) -> bool:
    """Whether `model` is `wanted` or one of its variants, ignoring case: H100-SXM is of family H100.

    A slice is of the family of slices with its profile alone: H100-SXM-MIG-1g.10gb of H100-MIG-1g.10gb, not of H100.
    """
    (have, own), (want, profile) = mig.split(model.lower()), mig.split(wanted.lower())
    return own == profile and (have == want or have.startswith(want + "-"))


def is_accepted(model: str, models: tuple[str, ...]) -> bool:
    """Whether a device of this model is of one of these families; of none, whether it is a whole GPU."""
    return any(is_of_family(model, wanted) for wanted in models) if models else mig.split(model)[1] is None


def families() -> tuple[str, ...]:
    """Every name that an ask may use: the models and their prefixes, sorted."""
    names = set(GPU_MODELS)
    for model in GPU_MODELS:
        parts = model.split("-")
        names.update("-".join(parts[: i + 1]) for i in range(len(parts)))
    return tuple(sorted(names))


def parse_gpus(text: str, path: tuple[str | int, ...] = ("gpus",)) -> GpuAsk:
    """Read "H100:8", "A100-80GB", "L4:0.5" (a share of one GPU), "H100-MIG-1g.10gb" (a slice), or "0" (none).

    The count defaults to 1.

    Raises `InvalidRequest` with one problem at `path` that names what is accepted.
    """
    if text.strip() == "0":
        return GpuAsk()
    match = _ASK.match(text)
    if match is None:
        raise _invalid(path, f"cannot read {text!r} as GPUs", ("H100:8", "A100-80GB:1", "0"))
    name, profile = mig.split(match[1])
    count_text = match[2]
    milli = _share(count_text, family_hint=name, path=path)
    if profile is not None and milli < WHOLE_GPU_MILLI:
        raise _invalid(path, "a slice of a GPU is given out whole", (f"{match[1]}:1", f"{name}:{count_text}"))
    count = 1 if count_text is None or milli < WHOLE_GPU_MILLI else int(count_text)
    family = next((f for f in families() if f.lower() == name.lower()), None)
    if family is None:
        near = get_close_matches(name.upper(), [f.upper() for f in families()], n=1)
        meant = next((f for f in families() if near and f.upper() == near[0]), None)
        raise _invalid(path, f"no GPU model is called {name!r}", families(), meant)
    if not 1 <= count <= MAX_GPUS_PER_NODE:
        hint = f"{family}:8 with `nodes: {max(2, count // 8)}`" if count > MAX_GPUS_PER_NODE else f"{family}:1"
        raise _invalid(path, f"{count} GPUs on one node is impossible", (f"1 to {MAX_GPUS_PER_NODE}",), hint)
    return GpuAsk(count=count, models=(family if profile is None else mig.join(family, profile),), milli=milli)


def _share(count_text: str | None, family_hint: str, path: tuple[str | int, ...]) -> int:
    """Thousandths of each GPU that a count asks for; 1000 for whole ones."""
    if count_text is None or "." not in count_text:
        return WHOLE_GPU_MILLI
    milli = round(float(count_text) * WHOLE_GPU_MILLI)
    if not MIN_SHARE_MILLI <= milli < WHOLE_GPU_MILLI:
        accepted = (f"{MIN_SHARE_MILLI / WHOLE_GPU_MILLI:g} to 0.999", "or whole GPUs")
        raise _invalid(path, f"a share of {count_text} GPUs is too small", accepted, f"{family_hint}:0.5")
    return milli


def _invalid(
    path: tuple[str | int, ...], message: str, accepted: tuple[str, ...], meant: str | None = None
) -> InvalidRequest:
    return InvalidRequest(problems=[Problem(path, message, accepted, meant)])


@dataclass(frozen=True)
class Infra:
    """Where work may run: a provider, optionally narrowed to a region and a zone. Written `provider/region/zone`."""

    provider: str
    region: str | None = None
    zone: str | None = None

    def covers(self, provider: str, region: str, zone: str | None) -> bool:
        """Whether a place lies within this one."""
        return (
            self.provider == provider
            and (self.region is None or self.region == region)
            and (self.zone is None or self.zone == zone)
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.provider, self.region, self.zone) if part)


def parse_infra(text: str) -> Infra:
    """Read `provider[/region[/zone]]`."""
    provider, *rest = text.strip().split("/")
    if not provider or len(rest) > 2:
        raise InvalidRequest(f"cannot read {text!r} as infra; write provider, provider/region or provider/region/zone")
    return Infra(provider, *[part or None for part in rest])
