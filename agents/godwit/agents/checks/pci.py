"""Addresses on the PCI bus, which every source writes in its own way."""

import re

_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.\d)?")

Address = tuple[int, int, int]


def address(text: str) -> Address | None:
    """Domain, bus and device as numbers; None for what is no address.

    NVML says `00000000:91:00.0`, old tools `0000:91:00.0`, the driver's lines `0000:91:00`: the same GPU.
    """
    found = _ADDRESS.fullmatch(text.strip().rstrip(":"))
    if found is None:
        return None
    return int(found[1] or "0", 16), int(found[2], 16), int(found[3], 16)
