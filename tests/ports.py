"""Ports for those who want theirs back after they were down."""

import random
import socket
from contextlib import suppress

PORTS = range(20_000, 32_000)
"""Below those of Linux' connections (ip_local_port_range), and not godwit's own."""


def lasting_port() -> int:
    """A port that stays free while whoever listens there is dead: none that the kernel hands out to connections."""
    rng = random.SystemRandom()
    for port in rng.sample(PORTS, 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError(f"of 100 ports in {PORTS} none is free")
