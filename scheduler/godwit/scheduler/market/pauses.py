"""For how long an offer is passed over after a machine of it never became usable."""

TIMES_MAX = 16.0
"""So many times as long at the most, eight minutes by default: what kept machines from booting may be mended by
then, and nobody has to say so."""


def after_failures(hold_s: float, failed: int) -> float:
    """`hold_s`, doubled for each of the `failed` machines of this provider that failed since its last good one.

    They are counted together: what keeps machines from booting (an image, a network, an address that they cannot
    reach) is seldom of one offer, and each that is tried costs what its provider bills at least.
    """
    return hold_s * min(TIMES_MAX, 2.0 ** min(failed, 10))
