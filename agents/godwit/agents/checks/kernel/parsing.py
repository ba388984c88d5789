"""What the kernel log says, line by line: `read` for one line, `Parser` for a stream in which messages span lines."""

from godwit.agents.checks.kernel import cards, machine, nvidia
from godwit.agents.checks.kernel.forms import LINE_CHARS, Form, KernelSign

FORMS: tuple[Form, ...] = (*nvidia.FORMS, *cards.FORMS, *machine.FORMS)
"""What is found, in the order in which it is tried."""

_BEGINS, _ENDS = "NVRM: The NVIDIA GPU", "not responding"
_CONTINUED_LINES = 6
"""A message of the driver about a GPU that fell off the bus takes 3 or 4 lines, each with its prefix."""


def read(line: str) -> KernelSign | None:
    """What one line says; None when it says nothing of health."""
    line = line[:LINE_CHARS]
    return next((sign for sign in (form.sign(line) for form in (*FORMS, *cards.RETURNS)) if sign is not None), None)


class Parser:
    """Reads a stream of lines; holds at most a few of them."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def feed(self, text: str) -> list[KernelSign]:
        """What one record says; it may hold several lines, and may end a message that began in an earlier record."""
        signs = (self._line(line) for line in text.splitlines())
        return [sign for sign in signs if sign is not None]

    def _line(self, line: str) -> KernelSign | None:
        if _BEGINS in line and _ENDS not in line:
            self._held = [line[:LINE_CHARS]]
            return None
        if self._held and "NVRM:" in line:
            self._held.append(line[:LINE_CHARS])
            if "fallen off the bus" in line:
                line, self._held = " ".join(self._held), []
                return read(line)
            if len(self._held) > _CONTINUED_LINES:
                self._held = []
        return read(line)
