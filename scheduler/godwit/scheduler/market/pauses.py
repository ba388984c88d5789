"""For how long an offer is passed over after a machine of it never became usable."""

PAUSE_MAX_S = 900.0
"""So often what failed is tried again at least: it may be mended, and nobody has to say so."""


def after_failures(hold_s: float, failed: int) -> float:
    """`hold_s`, doubled for each of the `failed` machines of this provider that failed since its last good one.

    They are counted together: what keeps machines from booting (an image, a network, an address that they cannot
    reach) is seldom of one offer, and each that is tried costs what its provider bills at least.
    """
    return min(PAUSE_MAX_S, hold_s * 2.0 ** min(failed, 10))
