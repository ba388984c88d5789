"""Which machines need no preflight, as the agents of each know it (`godwit.agents.checks.active.proven`).

An agent remembers it for each GPU; here it is for whole machines, which tries rather more of them.
"""

from collections.abc import Iterable

from godwit.agents.checks.active.proven import PASSED_S, WORKED_S


class Proofs:
    """Until when machines, by id, count as fit. Times are the world's."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._doubted: dict[str, float] = {}

    def tries(self, machines: Iterable[str], now: float) -> bool:
        """Whether any of these must be tried before a start; those that must are tried now, and may fail yet."""
        found = [one for one in machines if self._until.get(one, now) <= now]
        for one in found:
            self._until[one] = now + PASSED_S
        return bool(found)

    def passed(self, machine: str, since: float, now: float) -> None:
        """It passed active checks that began at `since`."""
        self._prove(machine, since, now + PASSED_S)

    def worked(self, machines: Iterable[str], since: float, now: float) -> None:
        """A program made steps on these from `since` until now."""
        for one in machines:
            self._prove(one, since, now + WORKED_S)

    def doubt(self, machine: str, now: float) -> None:
        """Something was found there."""
        self._until.pop(machine, None)
        self._doubted[machine] = now

    def forget(self, machine: str) -> None:
        """Its agent begins anew and remembers nothing."""
        self._until.pop(machine, None)

    def _prove(self, machine: str, since: float, until: float) -> None:
        if self._doubted.get(machine, float("-inf")) < since:
            self._until[machine] = max(until, self._until.get(machine, until))
