"""What healthy GPUs of each model say through NVML, for nodes that exist on paper.

The values are those that public captures and data sheets show for an idle GPU (DCGM, gpud and nvml-mock profiles); they
lie in `profiles.json`: `base` is what all have, each model what it has beside or instead.
"""

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

LISTED = "fake-gpus.json"
"""In a simulated node's folder: the GPUs that it was given, as the provider wrote them."""

_DEVICES_PER_DOMAIN = 16


def bus_id(index: int) -> str:
    """Where a GPU on paper sits, as NVML writes it: 00000000:10:00.0, 00000000:18:00.0, ..."""
    return f"{index // _DEVICES_PER_DOMAIN:08X}:{0x10 + 8 * (index % _DEVICES_PER_DOMAIN):02X}:00.0"


def line_address(index: int) -> str:
    """The same as the driver's lines write it: 0000:10:00."""
    return bus_id(index)[4:-2].lower()


@cache
def _all() -> dict[str, dict[str, Any]]:
    found = json.loads(resources.files(__package__).joinpath("profiles.json").read_text())
    assert isinstance(found, dict)
    return found


def models() -> list[str]:
    """The models that have a profile."""
    return [name for name in _all() if name not in ("base", "nvswitch")]


def of(model: str) -> dict[str, Any]:
    """The profile of a model as godwit names it; of an unknown one only what all GPUs have."""
    every = _all()
    matching = [name for name in models() if model == name or model.startswith(f"{name}-")]
    own = every[max(matching, key=len)] if matching else {}
    links = int(own.get("nvlinks", 0))
    profile = {**every["base"], **(every["nvswitch"] if own.get("fabric") else {}), **own.get("calls", {})}
    for link in range(links):
        profile[f"nvmlDeviceGetNvLinkState({link})"] = 1
        for counter in range(4):
            profile[f"nvmlDeviceGetNvLinkErrorCounter({link}, {counter})"] = 0
    return profile


def listed(folder: Path) -> list[dict[str, Any]]:
    """The GPUs of a simulated node, each with its `profile`; none where nothing was written."""
    path = folder / LISTED
    facts = json.loads(path.read_text()) if path.exists() else []
    return [{**fact, "profile": {**of(fact["model"]), **_own(index, fact)}} for index, fact in enumerate(facts)]


def _own(index: int, fact: dict[str, Any]) -> dict[str, Any]:
    total = int(float(fact.get("memory_gib", 80.0)) * 1024**3)
    memory = {"total": total, "used": 0, "free": total, "reserved": 0}
    return {
        "nvmlDeviceGetName()": f"NVIDIA {fact['model']}",
        "nvmlDeviceGetSerial()": f"165{index:010d}",
        "nvmlDeviceGetMemoryInfo(33554472)": memory,
        "nvmlDeviceGetMemoryInfo()": memory,
    }
