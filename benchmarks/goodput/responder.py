"""The seam between the world and whoever answers: what is seen goes in, what is to be done comes out as calls."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.goodput.machines import Fault, Machine
    from benchmarks.goodput.world import World


class Responder:
    """Who keeps the job running: subclasses answer what they hear, and nothing is done about the rest.

    It may call the world's commands from within each of these.
    """

    name = "nobody"

    def begin(self, world: "World") -> None:
        """Everything is well, and nothing runs yet: start the job."""

    def onset(self, fault: "Fault", machines: Sequence["Machine"]) -> None:
        """The truth, at once. Only an oracle may listen."""

    def passed(self, fault: "Fault", machine: "Machine") -> None:
        """The truth: a fault passed by itself. Only an oracle may listen."""

    def lines(self, machine: "Machine", lines: Sequence[str]) -> None:
        """The kernel of a machine wrote these lines; the control plane could know by now."""

    def polled(self, machine: "Machine") -> None:
        """The values of a machine were read, and some are not as they were."""

    def unheard(self, machine: "Machine") -> None:
        """From now on the machine's agent is not heard."""

    def crashed(self, machine: "Machine") -> None:
        """The program ended with an error, on this machine first as far as anybody can see."""

    def stuck(self, odd: "Machine | None") -> None:
        """No step for long; the stacks of all ranks point at this machine, or at none."""

    def slow(self, machine: "Machine", rate: float, windows: int) -> None:
        """A rank was slower than its peers over this window, the `windows`-th in a row; `rate`: its share of theirs."""

    def spoilt(self) -> None:
        """A step's loss is not a number; so is that of every step from then on."""

    def running(self) -> None:
        """The first step after a start is done."""

    def stopped(self) -> None:
        """No process of the job is left on machines that are alive."""

    def repaired(self, machine: "Machine", worked: bool) -> None:
        """A repair is over."""

    def tested(self, machine: "Machine", passed: bool) -> None:
        """Active checks are over."""

    def booted(self, name: str) -> None:
        """A machine that was bought boots; its agent is installed now."""

    def arrived(self, machine: "Machine") -> None:
        """A machine that was bought is there."""
