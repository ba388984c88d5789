"""The seam between the ways in which providers give notice, and who listens to them."""

from typing import Protocol

from godwit.agents.effects import Noticed


class Source(Protocol):
    """One way. `every_s` is how often it is worth looking."""

    every_s: float

    def look(self) -> Noticed | None:
        """What it says now; the same as long as it says so. Blocks for `every_s` at the most, and never raises."""
        ...
