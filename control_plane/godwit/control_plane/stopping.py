"""Stops an embedded control plane and everything that it started on this machine."""

import os
import signal
import time
from pathlib import Path

from godwit.control_plane.home import Home, named_holders
from godwit.domain.errors import Conflict
from godwit.providers import registry

TERM_WAIT_S = 15.0
"""A control plane ends within its graceful shutdown of 2 s and one provider call; after this it is killed."""


def stop(folder: Path) -> None:
    """End the control plane of `folder`, then its simulated clouds and nodes. Idempotent. Raises `Conflict` on failure.

    Jobs that were running are interrupted; the next start resumes them from their last checkpoints. While a control
    plane with a name holds the folder nothing is touched: it is somebody's service, and would run on without machines.
    """
    _refuse_named(folder)
    home = Home(folder)
    for number, wait_s in ((signal.SIGTERM, TERM_WAIT_S), (signal.SIGKILL, 5.0)):
        if not home.is_held():
            break
        os.kill(_pid(home), number)
        _wait_until_free(home, wait_s)
    if home.is_held():
        raise Conflict(f"the control plane that holds {folder} does not end; look at process {_pid(home)}")
    home.withdraw()
    registry.stop_simulated(folder)
    registry.stop_local(folder)


def _refuse_named(folder: Path) -> None:
    told = named_holders(folder)
    if not told:
        return
    raise Conflict(
        f"control planes with names (GODWIT_REPLICA) hold {folder}: {told}; nothing was stopped: end them first, with "
        "their service (`systemctl stop godwit`, on each of their machines) or by process id"
    )


def _pid(home: Home) -> int:
    return int((home.folder / "control_plane.lock").read_text().strip())


def _wait_until_free(home: Home, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while home.is_held() and time.monotonic() < deadline:
        time.sleep(0.05)
