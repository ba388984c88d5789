"""Where this process may dial: the open internet, and private networks only where the settings say so.

Whoever can make this machine send to an address of their choice could reach what only this machine may reach, such as
the metadata service of its cloud. The name is looked up once, every address is judged, and the judged one is dialled.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Sequence[str]]

_STANDING_FOR_IPV4 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))
"""An IPv4 address in the last four bytes, which a translator would reach: RFC 6052, RFC 8215 (as most are set up), and
RFC 4291, section 2.5.5.1, of old."""

_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")))
"""Where clouds answer their own machines beside 169.254.169.254: EC2 over IPv6, Alibaba Cloud and Azure, each as its
vendor documents instance metadata."""


class Forbidden(Exception):
    """Nothing is sent there; the message says why, without the address."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a name. Raises `OSError`."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def allowed(host: str, port: int, *, private: bool, lookup: Lookup = resolve) -> str:
    """The address to dial. Raises `Forbidden` where any address of the name is not allowed, `OSError` without any."""
    found = [ipaddress.ip_address(text.partition("%")[0]) for text in lookup(host, port)]
    if not found:
        raise OSError("the name has no address")
    for address in found:
        why = refusal(address, private=private)
        if why is not None:
            raise Forbidden(f"{host} {why}")
    return str(found[0])


def refusal(address: Address, *, private: bool) -> str | None:
    """Say why nothing is sent to an address, or None."""
    address = _inner(address)
    if address.is_link_local or address in _METADATA:
        return "is a link-local address, such as a cloud's metadata service has"
    if address.is_multicast or address.is_unspecified:
        return "is no address of one machine"
    if not private and not address.is_global:
        return "lies in a private network; `allow_private: true` in its settings allows that"
    return None


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in _STANDING_FOR_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = None if address.teredo is None else address.teredo[1]
    return address.ipv4_mapped or address.sixtofour or teredo or address
