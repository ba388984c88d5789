"""Where control planes on one database reach one another."""

import socket
from ipaddress import IPv4Address
from urllib.parse import urlsplit

EVERYWHERE, LOOPBACK = "0.0.0.0", "127.0.0.1"  # noqa: S104 - what is compared with, not what is listened on
ELSEWHERE = ("192.0.2.1", 9)
"""An address that nobody has, for documentation (RFC 5737), and the port of `discard`."""


def own_url(listen: str, port: int, given: str = "") -> str:
    """The address of this one for the others: what was `given`, or where it listens; of every address, the best one."""
    if given:
        return given
    return f"http://{best_of(_named(), _outgoing()) if listen == EVERYWHERE else listen}:{port}"


def is_of_one_machine(url: str) -> bool:
    """Whether `url` leads each machine to itself: an address for the others only where all are on this one."""
    return (urlsplit(url).hostname or "").startswith("127.")


def best_of(named: str, outgoing: str) -> str:
    """Of what the machine's name leads to and what it goes out by, the first that another machine may reach.

    Debian writes its own name into /etc/hosts as 127.0.1.1, which all machines are for themselves. Both are IPv4
    addresses, empty where there is none; without a good one it is that of the name, or 127.0.0.1.
    """
    return next((one for one in (named, outgoing) if one and _is_good(one)), named or LOOPBACK)


def _is_good(address: str) -> bool:
    parsed = IPv4Address(address)
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local)


def _named() -> str:
    # In a container the name of the machine is that of its address in the network of the others.
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""


def _outgoing() -> str:
    """The address of the interface that leads out; UDP sends nothing as it connects. Empty without a way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
