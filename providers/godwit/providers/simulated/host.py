"""The host of several simulated clouds: their machines, their state on disk, and the clock that drives them.

DIR/state.json   everything the clouds know; replaced in one step before an answer leaves
DIR/api_key      the key that every cloud asks for
DIR/lock         held by the one process that may host DIR
DIR/machines/    records of the machines that are not gone
DIR/boot_logs/   what their startup scripts printed, bounded
"""

import asyncio
import fcntl
import json
import os
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from godwit.domain.clock import Clock
from godwit.domain.errors import Conflict
from godwit.providers import files
from godwit.providers.hosted import HostedMachines, network_of
from godwit.providers.simulated import catalogue
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.sales import CloudSettings

WATCH_S = 0.5
"""How often the processes of machines that are up are looked at; nothing is, while there are none."""

_SETTLE_S = 0.05
"""How soon a machine that should be gone by now is looked at again."""

EXIT_ALREADY_HOSTED = 3
"""What the process ends with when another one hosts the folder; that one is to be used."""

Answer = TypeVar("Answer")


class Host:
    """The clouds of one state folder. Not safe for several threads: one event loop, or one test, owns it.

    Raises `Conflict` when another process hosts the folder.
    """

    def __init__(self, state_dir: Path, clock: Clock, rng: random.Random) -> None:
        self.state_dir = files.private_folder(state_dir)
        self._lock = _hold(state_dir / "lock")
        self.api_key = api_key(state_dir)
        self.machines = HostedMachines(state_dir)
        self._clock = clock
        self.clouds: dict[str, Cloud] = {}
        for spec in catalogue.BUILT_IN.values():
            settings = CloudSettings(spec.name, spec.index, network_of(state_dir, spec.index), spec.shapes)
            self.clouds[spec.name] = Cloud(settings, clock, rng, self.machines)
        self._load()
        self._cut_strays()
        self._saved = self._changes()
        self.woken = asyncio.Event()

    def _load(self) -> None:
        path = self.state_dir / "state.json"
        if not path.exists():
            return
        stored = json.loads(path.read_text())
        for name, cloud in self.clouds.items():
            if name in stored["clouds"]:
                cloud.load(stored["clouds"][name])

    def _changes(self) -> int:
        return sum(cloud.changes for cloud in self.clouds.values())

    def save(self) -> None:
        """Write the state if it changed."""
        changes = self._changes()
        if changes != self._saved:
            state = {"version": 1, "clouds": {name: cloud.to_json() for name, cloud in self.clouds.items()}}
            files.write_private(self.state_dir / "state.json", json.dumps(state))
            self._saved = changes

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Let a cloud do something; what it did is on disk before the answer is known."""
        try:
            return question()
        finally:
            self.save()
            self.woken.set()

    def tick(self) -> None:
        """Do all that is due in every cloud."""
        for cloud in self.clouds.values():
            cloud.tick()
        self.save()

    def rest_s(self) -> float | None:
        """How long nothing needs a look; None while no machine exists at all."""
        dues = [due for cloud in self.clouds.values() if (due := cloud.next_due()) is not None]
        rests = [max(_SETTLE_S, due - self._clock.now()) for due in dues]
        if any(cloud.running() for cloud in self.clouds.values()):
            rests.append(WATCH_S)
        return min(rests, default=None)

    async def run(self) -> None:
        """Drive the clouds until cancelled: asleep while there is nothing to watch."""
        while True:
            self.tick()
            self.machines.bound_logs()
            self.woken.clear()
            try:
                await asyncio.wait_for(self.woken.wait(), self.rest_s())
            except TimeoutError:
                continue

    def end_all(self) -> None:
        """Terminate every machine; returns at once, `busy` says when it is done."""
        for cloud in self.clouds.values():
            for instance_id in cloud.live():
                self.ask(lambda cloud=cloud, instance_id=instance_id: cloud.end(instance_id))  # type: ignore[misc]
        self._cut_strays()

    def _cut_strays(self) -> None:
        """End machines that no cloud knows: what is left when somebody removed state.json."""
        live = {instance_id for cloud in self.clouds.values() for instance_id in cloud.live()}
        for instance_id in set(self.machines.known()) - live:
            self.machines.cut(instance_id)

    def busy(self) -> bool:
        """Whether any machine is left."""
        return bool(self.machines.known()) or any(cloud.live() for cloud in self.clouds.values())

    def end_all_and_wait(self, timeout_s: float) -> bool:
        """Terminate every machine and wait until all are gone; False when some were not within `timeout_s`."""
        self.end_all()
        deadline = time.monotonic() + timeout_s
        while self.busy() and time.monotonic() < deadline:
            self.tick()
            time.sleep(_SETTLE_S)
        return not self.busy()

    def close(self) -> None:
        """Give the folder up; its machines go on."""
        self.save()
        os.close(self._lock)


def api_key(state_dir: Path) -> str:
    """The key of this folder's clouds, made by whoever asks first."""
    path = files.private_folder(state_dir) / "api_key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        key = f"sim_{secrets.token_urlsafe(24)}"
        file.write(key)
    return key


def _hold(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise Conflict(f"another process hosts the simulated clouds of {path.parent}; use that one or stop it") from exc
    return descriptor
