"""The seams of the engine, and what stands in each when nothing is configured: order, gate, yielding."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from godwit.scheduler.demands import Demand

if TYPE_CHECKING:
    from godwit.scheduler.engine import Engine

Rank = tuple[float, ...]
"""Where a demand stands before its age counts: priority and whatever an order adds. Less is sooner."""


class Order(Protocol):
    """Who is looked at first."""

    def rank(self, demand: Demand, served_gpu_s: float) -> Rank:
        """The rank of a demand that has been served so much. Of two with equal ranks the older goes first."""
        ...

    def turn(self, demand: Demand, now: float) -> Rank:
        """What stands before the rank and changes with time or usage; asked of the first of each class in every pass.

        Within a pass it may only grow, as starts are booked: the engine asks again before it serves.
        """
        ...


class ByPriority:
    """Higher priority first, then first come, first served."""

    def rank(self, demand: Demand, served_gpu_s: float) -> Rank:  # noqa: ARG002 - an order may want it
        """Only the priority."""
        return (-demand.priority,)

    def turn(self, demand: Demand, now: float) -> Rank:  # noqa: ARG002
        """Nothing that changes."""
        return ()


class Gate(Protocol):
    """What a project may hold, whatever is free."""

    def refusal(self, demand: Demand, nodes: int) -> str | None:
        """Why this demand may not start on so many nodes now; None when it may.

        Except for what is promised to it, that follows from its project, what it asks and how many nodes alone.
        """
        ...

    def stamp(self, project: str) -> int:
        """From 0, and greater whenever what this project's demands are told may have changed. Cheap."""
        ...

    def started(self, demand: Demand, nodes: int) -> None:
        """It holds a gang of so many nodes."""
        ...

    def ended(self, demand: Demand, nodes: int) -> None:
        """It holds nothing any more."""
        ...

    def promised(self, demand: Demand, by: Mapping[Demand, int]) -> None:
        """Others, on so many nodes each, were told to yield to it: until it starts or is `forgotten`, what it needs at
        least is for nobody else. What these still hold is part of that; each of them will be told as `ended`.
        """
        ...

    def forgotten(self, job_id: str) -> None:
        """Nothing is promised to it any more, if anything was."""
        ...


class Open:
    """A gate that lets everybody through."""

    def refusal(self, demand: Demand, nodes: int) -> str | None:  # noqa: ARG002 - the protocol's signature
        """Nobody is refused."""
        return None

    def stamp(self, project: str) -> int:  # noqa: ARG002
        """Nothing ever changes."""
        return 0

    def started(self, demand: Demand, nodes: int) -> None:
        """Nothing to book."""

    def ended(self, demand: Demand, nodes: int) -> None:
        """Nothing to book."""

    def promised(self, demand: Demand, by: Mapping[Demand, int]) -> None:
        """Nothing to book."""

    def forgotten(self, job_id: str) -> None:
        """Nothing to book."""


class Yielding(Protocol):
    """Who gives way when a demand finds no room."""

    def may_help_anybody(self, engine: "Engine", now: float) -> bool:
        """Whether `may_help` is worth being asked for what fits nowhere. Each pass begins with this call."""
        ...

    def may_help(self, demand: Demand, engine: "Engine", now: float) -> bool:
        """Whether `choose` is worth a call. Cheap: it is asked of every class of waiting demands in every pass."""
        ...

    def choose(self, demand: Demand, why: str, engine: "Engine", now: float) -> list[str]:
        """The running jobs that must stop so that it can start; empty when none may. `why` is the refusal."""
        ...


class Nobody:
    """Running jobs are left alone."""

    def may_help_anybody(self, engine: "Engine", now: float) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def may_help(self, demand: Demand, engine: "Engine", now: float) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def choose(self, demand: Demand, why: str, engine: "Engine", now: float) -> list[str]:  # noqa: ARG002
        """Nobody yields."""
        return []
