"""What every command starts with: the connection, from the environment as it is now."""

import os

from godwit.cli import connection
from godwit.cli.client import ControlPlane


def control_plane() -> ControlPlane:
    """The control plane that the environment or the home points to; raises `Failure` when there is none."""
    return ControlPlane(connection.find(connection.settings(os.environ)))
