"""How long an agent waits before it asks again, so that thousands that were cut off at once do not come back at once.

Pure; the source of randomness is an argument. Full jitter, as in M. Brooker, "Exponential Backoff And Jitter" (AWS
Architecture Blog, 2015): of the ways compared there it needs the fewest calls until all are served.
"""

import random

FIRST_S = 0.2
"""The most before the first try again: a control plane that was restarted for a few agents is back in a blink."""

HEARTBEATS = 2.0
LEASE_SHARE = 0.25
"""A pause lasts at most two heartbeats, and at most this share of the lease: four tries come before that is over."""

WAIT_MAX_S = 30.0
"""The longest that a control plane may ask an agent to stay away."""


ANSWER_S = 5.0
"""The least that is waited for an answer: networks and a database that fails over need some of it."""

ANSWER_SHARE = 1 / 3
"""Of a lease, if that is more: who gives up early asks again, and what was done for the first try is lost. Of thousands
that come back at once many wait for several seconds; had all given up after five, nobody would be heard for long."""


def patience_s(lease_s: float) -> float:
    """How long to wait for the answer to a heartbeat; there is time for another one then, before the lease is over."""
    return max(ANSWER_S, ANSWER_SHARE * lease_s)


def longest_s(heartbeat_s: float, lease_s: float) -> float:
    """The most that an agent with these times pauses between two tries."""
    return max(FIRST_S, min(HEARTBEATS * heartbeat_s, LEASE_SHARE * lease_s))


def again_s(failed: int, most_s: float, rng: random.Random, asked_s: float = 0.0) -> float:
    """The pause after the try that was the `failed`th in a row to fail, of at most `most_s` seconds.

    `asked_s` is for how long the control plane asked to be left alone: what is waited comes on top of that.
    """
    reach_s = min(most_s, FIRST_S * 2.0 ** min(failed - 1, 32))
    return min(max(asked_s, 0.0), WAIT_MAX_S) + rng.uniform(0.0, reach_s)


def next_beat_s(heartbeat_s: float, rng: random.Random, *, is_first: bool) -> float:
    """The pause after an answered heartbeat: the first after a silence is followed soon, at an instant of its own.

    Agents that came back together would else report together from then on.
    """
    return rng.uniform(0.0, heartbeat_s) if is_first else heartbeat_s
