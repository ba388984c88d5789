"""What is normal for a model of GPU, where the driver does not say so itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sku:
    """`nvlinks`: how many links are up on a whole board. `margin_c`: at which temperature margin it slows down.

    `idle_watts`: less than this while it computes is no power at all. `odd_pcie`: its PCIe width says nothing.
    """

    nvlinks: int | None = None
    margin_c: int | None = None
    idle_watts: float = 0.0
    odd_pcie: bool = False


_KNOWN = {
    "A100-SXM": Sku(12, None, 40.0),
    "H100-SXM": Sku(18, -2, 65.0),
    "H200-SXM": Sku(18, -2, 65.0),
    "GH200": Sku(None, -2, 65.0),
    "B200": Sku(18, -3, 65.0),
    "GB200": Sku(18, -2, 65.0),
    "B300": Sku(None, None, 65.0, odd_pcie=True),
    "GB300": Sku(18, -2, 65.0, odd_pcie=True),
    "L40S": Sku(None, -2, 0.0),
    "L40": Sku(None, -2, 0.0),
}
"""Links: H100, H200, B200 18, A100 12 (gpud, DCGM). Margins: DCGM. Power: NVIDIA health validation, 65 to 1500 W.
B300 boards say PCIe x1 by design (DCGM's configuration)."""


def of(model: str) -> Sku:
    """The SKU of a model as godwit names it ("H100-SXM", "A100-SXM-80GB"); one without expectations where unknown."""
    matching = [name for name in _KNOWN if model == name or model.startswith(f"{name}-")]
    return _KNOWN[max(matching, key=len)] if matching else Sku()
