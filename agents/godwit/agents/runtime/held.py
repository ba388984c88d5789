"""The secrets of one attempt, in the memory of its agent and nowhere else."""

import threading
from collections.abc import Callable

from godwit.agents.redaction import Mask, Withheld
from godwit.domain.errors import GodwitError
from godwit.domain.wire.secrets import AttemptSecrets


class SecretsGone(GodwitError):
    """A secret of the job was removed before it began here."""


class Held:
    """Secrets that are asked for once, by whoever needs them first. For use from several threads.

    Without `ask` the attempt has none. An agent that takes an attempt over asks again, since none were left on disk.
    """

    def __init__(self, ask: Callable[[], AttemptSecrets] | None = None) -> None:
        self._ask, self._asking = ask, threading.Lock()
        self._mask = Mask() if ask is None else None
        self.values: dict[str, str] = {}
        """By variable; empty until they are known. Who keeps this mapping sees them then."""
        self.gone: list[str] = []

    def __repr__(self) -> str:
        return "Held(...)"

    def mask(self) -> Mask:
        """What to cover in output; asks if need be. Raises what `ask` raises: then no output may leave."""
        with self._asking:
            if self._mask is None and self._ask is not None:
                answer = self._ask()
                self.values.update(answer.values)
                self.gone = list(answer.gone)
                self._mask = Withheld(answer.values.values()) if answer.gone else Mask(answer.values.values())
            return self._mask or Mask()

    def known_mask(self) -> Mask:
        """The same without asking: everything is covered until it is known what is secret."""
        return self._mask or Withheld()

    def complete(self) -> None:
        """Make sure that all are here. Raises `SecretsGone`, and what `ask` raises."""
        self.mask()
        if self.gone:
            raise SecretsGone(f"the secret of {', '.join(self.gone)} was removed; set it again, and the job goes on")
