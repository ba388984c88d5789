"""Slices of a GPU that its hardware keeps apart (NVIDIA Multi-Instance GPU, MIG), by name.

A slice is a device of its own, called after the model and its profile: H100-SXM-MIG-1g.10gb. Nobody gets one by asking
for a GPU, nor the other way round. Profiles are those of NVIDIA's "MIG User Guide": 1g.10gb has one of seven shares of
the compute units and 10 GB, +me also the media engines.
"""

import re

PROFILE = r"\d{1,2}g\.\d{1,3}gb(?:\+[a-z.]+)?"
COMPUTE_SHARES = 7
"""Shares into which the compute units are cut (MIG User Guide, "Concepts"): 3g has three of them."""

_NAME = re.compile(rf"^(?P<model>.+?)-MIG-(?P<profile>{PROFILE})$", re.IGNORECASE)
_DRIVERS = re.compile(rf"^(?P<model>.+?)\s+MIG\s+(?P<profile>{PROFILE})$", re.IGNORECASE)


def split(name: str) -> tuple[str, str | None]:
    """The model and the profile of a slice's name; a whole GPU has None: ("H100-SXM", "1g.10gb")."""
    match = _NAME.match(name)
    return (name, None) if match is None else (match["model"], match["profile"].lower())


def join(model: str, profile: str) -> str:
    """The name of a slice."""
    return f"{model}-MIG-{profile.lower()}"


def split_driver_name(name: str) -> tuple[str, str | None]:
    """The same for what the driver calls it: "NVIDIA H100 80GB HBM3 MIG 1g.10gb"."""
    match = _DRIVERS.match(name.strip())
    return (name, None) if match is None else (match["model"], match["profile"].lower())


def share(name: str) -> float:
    """How much of its GPU's compute units a device has: 1 for a whole one."""
    profile = split(name)[1]
    return 1.0 if profile is None else min(1.0, int(profile.partition("g")[0]) / COMPUTE_SHARES)
