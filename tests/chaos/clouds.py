"""The simulated clouds, in this process, with machines whose image has a real Ray and a stand-in for it."""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from godwit.domain.clock import SystemClock
from godwit.providers import processes
from godwit.providers.hosted import HostedMachines, host_mark
from godwit.providers.simulated import __main__ as serving
from godwit.providers.simulated import host as hosting

ROOT = Path(__file__).parent.parent.parent
NAMES = ("sim-aurora", "sim-borealis", "sim-cascade")
STAND_IN = "CHAOS_STANDS_IN_FOR_RAY"
"""A job that has it in its environment does without a real Ray."""

_RAY = f"""#!/bin/sh
if [ "${STAND_IN}" ]; then exec {sys.executable} -S {ROOT}/tests/network/stand_in_ray.py "$@"; fi
exec {Path(sys.executable).parent}/ray "$@"
"""


@dataclass(frozen=True)
class Clouds:
    """The clouds at `url`. `mark` begins the mark of each of their machines' processes."""

    url: str
    key: str
    mark: str

    def read(self, cloud: str, path: str) -> Any:
        """What a cloud answers, whatever goes wrong there: its faults are cleared first."""
        self.faults(cloud)
        return self._call("GET", f"/clouds/{cloud}/{path}").json()

    def faults(self, cloud: str, **faults: Any) -> None:
        """From now on this, and only this, goes wrong there."""
        self._call("PUT", f"/clouds/{cloud}/faults", json=faults)

    def lose(self, instance_id: str) -> None:
        """Cut a machine's power; its cloud goes on for a while as if it ran."""
        for cloud in NAMES:
            wanted = {"instance_id": instance_id, "kind": "node-loss"}
            if self._call("POST", f"/clouds/{cloud}/faults/drill", json=wanted, refused=(404, 409)).is_success:
                return

    def machines(self) -> list[str]:
        """The machines that run now, the oldest first."""
        return [
            machine["id"]
            for cloud in NAMES
            for machine in self._call("GET", f"/clouds/{cloud}/faults/machines").json()["machines"]
        ]

    def _call(self, method: str, path: str, refused: Collection[int] = (), **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = httpx.request(method, self.url + path, headers=headers, timeout=60, trust_env=False, **more)
        if answer.status_code not in refused:
            answer.raise_for_status()
        return answer


@contextmanager
def running(home: Path) -> Iterator[Clouds]:
    """The clouds of a home; all machines have ended after the block."""
    folder = home / "simulated"
    machines = HostedMachines(folder, _image(home.parent / "image", home.parent))
    with patch.object(hosting, "HostedMachines", lambda _state_dir: machines):
        host = hosting.Host(folder, SystemClock(), random.SystemRandom())
    server = threading.Thread(target=serving.serve, args=(host, 0), name="clouds", daemon=True)
    server.start()
    record = _announced(folder / "server.json")
    try:
        yield Clouds(record["url"], host.api_key, host_mark(folder))
    finally:
        headers = {"Authorization": f"Bearer {host.api_key}"}
        httpx.post(f"{record['url']}/stop", headers=headers, timeout=60, trust_env=False)
        server.join(60)


def _announced(path: Path, within_s: float = 60.0) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while not path.exists():
        assert time.monotonic() < deadline, f"the simulated clouds did not start within {within_s} s"
        time.sleep(0.05)
    return dict(json.loads(path.read_text()))


def _image(image: Path, home: Path) -> dict[str, str]:
    """What machines start from."""
    image.mkdir()
    for name, script in (("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n'), ("ray", _RAY)):
        (image / name).write_text(script)
        (image / name).chmod(0o755)
    kept = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}
    # A Ray that stands by on each idle node would cost more than two cores have.
    said = {"GODWIT_PYTHON": str(image / "python"), "GODWIT_HEALTH_POLL_S": "60", "GODWIT_WARM_RAY": "false"}
    return processes.base_environment(home) | kept | said
