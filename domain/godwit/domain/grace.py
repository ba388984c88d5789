"""How long a program may take to save once its machine is to be taken back."""

RESERVE_SHARE, RESERVE_MOST_S = 1 / 3, 60.0
"""What is left of the time when the program has to be done: its last checkpoint has yet to reach the store. Of EC2's
two minutes that is 40 s, of Nebius's one 20 s."""


def within(left_s: float) -> float:
    """Seconds for the program out of the `left_s` until the machine is gone; 0 when there are none."""
    return max(0.0, left_s - min(RESERVE_MOST_S, left_s * RESERVE_SHARE))
