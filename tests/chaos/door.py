"""What stands before several control planes, as a load balancer does: a connection goes to the next that takes it."""

import socket
from collections.abc import Sequence

from tests.network.relay import Relay


class Door(Relay):
    """Listens on 127.0.0.1 and passes what comes to the `targets` in turn: ports on 127.0.0.1."""

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets, self._turn = tuple(targets), 0
        super().__init__("127.0.0.1", 0)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def reached(self) -> socket.socket | None:
        """A connection to the next control plane that takes one."""
        self._turn += 1
        for step in range(len(self._targets)):
            self.target = self._targets[(self._turn + step) % len(self._targets)]
            found = super().reached()
            if found is not None:
                return found
        return None
