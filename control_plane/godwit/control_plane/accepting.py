"""How connections are let in when thousands come at once: several in each turn of the event loop.

libuv, on which uvloop stands, accepts one connection of a listening socket in each turn (libuv/libuv pull request 3696,
"unix: don't accept() connections in a loop", of 2022). A turn takes milliseconds while threads work; then thousands
of agents that come back at once wait in the kernel's queue until they give up, and those let in are gone already.
"""

import socket

AT_ONCE = 32
"""Connections of one turn. Each costs a call of the kernel when there is one connection only."""

BACKLOG = 8192
"""Connections that may wait to be let in: two of each of 4,000 agents; the kernel's own bound (`somaxconn`, 4,096 by
default) may be lower."""


def several(listener: socket.socket, at_once: int = AT_ONCE) -> list[socket.socket]:
    """The same listening socket `at_once` times, the given one first; who serves on all of them closes each."""
    return [listener, *(listener.dup() for _ in range(at_once - 1))]
