"""What every command starts with: the connection, from the environment as it is now."""

import os
import time

from godwit.cli import connection
from godwit.cli.client import ControlPlane
from godwit.cli.connection import Connection


def control_plane() -> ControlPlane:
    """The control plane that the environment or the home points to; raises `Failure` when there is none."""
    return ControlPlane(connection.find(connection.settings(os.environ), time.time()))


def elsewhere(url: str, token: str = "") -> ControlPlane:
    """A control plane at an address, without a token or with this one."""
    return ControlPlane(Connection(url, token))
