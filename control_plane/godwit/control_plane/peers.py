"""Where control planes on one database reach one another."""

import socket

EVERYWHERE, LOOPBACK = "0.0.0.0", "127.0.0.1"  # noqa: S104 - what is compared with, not what is listened on


def own_url(listen: str, port: int, given: str = "") -> str:
    """The address of this one for the others: what was `given`, or where it listens; of every address, its name's."""
    if given:
        return given
    return f"http://{_own_address() if listen == EVERYWHERE else listen}:{port}"


def _own_address() -> str:
    # In a container the name of the machine is that of its address in the network of the others.
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return LOOPBACK
