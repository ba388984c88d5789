"""What a dev environment asks for besides what every job does."""

from dataclasses import dataclass

HOME_BYTES_MAX = 10_000_000_000
"""How large a home may grow unless its owner says otherwise: it is copied whole where nothing of it is at hand."""

IDLE_AFTER_S = 2 * 3600.0
"""How long nobody and nothing may use one until it is given back, unless its owner says otherwise."""


@dataclass(frozen=True)
class Dev:
    """An environment that people work in: a home folder of at most `home_bytes_max`, which is saved and goes with it.

    It ends after `idle_after_s` without use; None: never by itself. `home_of` is the id of the environment of before,
    whose home folder this one begins with.
    """

    home_bytes_max: int = HOME_BYTES_MAX
    idle_after_s: float | None = IDLE_AFTER_S
    home_of: str | None = None
