"""When a Ray stands by on a node of a home: before that, a run there is no measurement of one that does."""

import time
from pathlib import Path

import psutil
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.standby import SHELF

from benchmarks import homes

UP_S = 90.0
"""How long a Ray may take to stand; on two cores that are free it takes 5 s."""

SETTLE_S = 5.0
"""Ray says that it is up before its dashboard and its agents have loaded; a head that is warm has that behind it."""


def wait(home: homes.Home) -> None:
    """Wait until a Ray stands by and has come to rest. Raises `TimeoutError`."""
    homes.wait_until(lambda: any(map(_stands, _node_folders(home))), UP_S, "Ray that stands by")
    time.sleep(SETTLE_S)


def _stands(node_dir: Path) -> bool:
    names = [path.name for path in (node_dir / SHELF).glob("*")]
    return any(AttemptFolder(node_dir, name, SHELF).ray_is_up() for name in names)


def _node_folders(home: homes.Home) -> list[Path]:
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get("GODWIT_URL") == home.url and "GODWIT_NODE_DIR" in environment:
            found.append(Path(environment["GODWIT_NODE_DIR"]))
    return found
