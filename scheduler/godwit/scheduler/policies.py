"""The seams of the engine, and what stands in each when nothing is configured: order, gate, yielding."""

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


class ByPriority:
    """Higher priority first, then first come, first served."""

    def rank(self, demand: Demand, served_gpu_s: float) -> Rank:  # noqa: ARG002 - an order may want it
        """Only the priority."""
        return (-demand.priority,)


class Gate(Protocol):
    """What a project may hold, whatever is free."""

    def refusal(self, demand: Demand) -> str | None:
        """Why this demand may not start now; None when it may."""
        ...

    def started(self, demand: Demand) -> None:
        """It holds its gang."""
        ...

    def ended(self, demand: Demand) -> None:
        """It holds nothing any more."""
        ...


class Open:
    """A gate that lets everybody through."""

    def refusal(self, demand: Demand) -> str | None:  # noqa: ARG002 - the protocol's signature
        """Nobody is refused."""
        return None

    def started(self, demand: Demand) -> None:
        """Nothing to book."""

    def ended(self, demand: Demand) -> None:
        """Nothing to book."""


class Yielding(Protocol):
    """Who gives way when a demand finds no room."""

    def may_help_anybody(self, engine: "Engine", now: float) -> bool:
        """Whether `may_help` is worth being asked in this pass."""
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
