"""A door between the hosts' network and this machine's loopback, where control plane and store listen."""

import socket
import threading
from contextlib import suppress

CONNECT_S = 2.0
_BLOCK_BYTES = 65_536


class Relay:
    """Listens on `address`:`port` and passes what comes to 127.0.0.1:`target`, which may be set later."""

    def __init__(self, address: str, port: int, target: int = 0) -> None:
        self.target = target
        self._listener = socket.create_server((address, port), backlog=256)
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Take nobody in any more."""
        self._listener.shutdown(socket.SHUT_RDWR)  # or the thread that waits on it would keep it open
        self._listener.close()

    def reached(self) -> socket.socket | None:
        """A connection to where the next one is passed; None when nobody takes it."""
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", self.target), timeout=CONNECT_S)
        return None

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return  # closed
            callee = self.reached()
            if callee is None:
                caller.close()
                continue
            callee.settimeout(None)
            for source, sink in ((caller, callee), (callee, caller)):
                threading.Thread(target=pump, args=(source, sink), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what one end says until either is closed, and close both."""
    with suppress(OSError):
        while block := source.recv(_BLOCK_BYTES):
            sink.sendall(block)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    # Both pumps come here in turn; the second close of a socket does nothing.
    source.close()
    sink.close()
