"""What stands before several control planes, as a load balancer does: a connection goes to the next that takes it."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

from tests.network.relay import pump

CONNECT_S = 2.0


class Door:
    """Listens on 127.0.0.1 and passes what comes to the `targets` in turn: ports on 127.0.0.1."""

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets, self._turn = tuple(targets), 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        threading.Thread(target=self._accept, name="door", daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Take nobody in any more."""
        self._listener.shutdown(socket.SHUT_RDWR)  # or the thread that waits on it would keep it open
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._turn += 1
            callee = self._reached()
            if callee is None:
                caller.close()
                continue
            for source, sink in ((caller, callee), (callee, caller)):
                threading.Thread(target=pump, args=(source, sink), daemon=True).start()

    def _reached(self) -> socket.socket | None:
        for step in range(len(self._targets)):
            with suppress(OSError):
                target = self._targets[(self._turn + step) % len(self._targets)]
                callee = socket.create_connection(("127.0.0.1", target), timeout=CONNECT_S)
                callee.settimeout(None)
                return callee
        return None
