"""The adapter to SSH hosts on a pool of real SSH servers."""

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import asyncssh
from godwit.domain.offers import Instance
from godwit.providers.kinds import Setup
from godwit.providers.layers.wrapping import Layer
from godwit.providers.protocol import LaunchRequest
from godwit.providers.ssh_hosts.provider import SshHostsProvider

from tests.contract.rigs import Rig
from tests.emulators.ssh_hosts.pool import USER, Pool

H100 = "NVIDIA H100 80GB HBM3, 81559"
L4 = "NVIDIA L4, 23034"
SHAPES = ((), (), (L4,), (L4, L4), (H100, H100), (H100,) * 8)
NOWHERE = "127.0.0.1:9"
IMPATIENT_S = 1.0
"""The servers share this machine's processors with their processes and everybody's tests."""


class Elsewhere(Layer):
    """A pool of one host where nobody listens, which sells whatever is asked of it."""

    def launch(self, request: LaunchRequest) -> Instance:
        """Launch there."""
        return self.inner.launch(replace(request, offer=replace(request.offer, region=NOWHERE)))

    def close(self) -> None:
        """Close its connections."""
        cast("SshHostsProvider", self.inner).close()


def rig() -> Iterator[Rig]:
    """Six hosts. A rate limit is a host that hangs up, which does not say for how long; taken hosts are not offered."""
    home = Path(tempfile.mkdtemp(prefix="godwit-ssh-"))
    try:
        with Pool(SHAPES).serving() as pool:
            yield rig_of(pool, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def rig_of(pool: Pool, home: Path) -> Rig:
    """A rig on a pool that serves."""

    def build(folder: str, timeout_s: float, key: str = pool.private_key, hosts: str = pool.option) -> SshHostsProvider:
        return adapter(pool, home / folder, timeout_s, key, hosts)

    def pass_time(seconds: float) -> None:
        pool.clock.advance(max(seconds, 0.5))
        time.sleep(0.02)  # its processes live in real time

    wrong_key = asyncssh.generate_private_key("ssh-ed25519", comment="wrong-key").export_private_key().decode()
    return Rig(
        provider=build("home", 15.0),
        impatient=build("impatient", IMPATIENT_S),
        pass_time=pass_time,
        set_faults=pool.set_faults,
        secret=pool.private_key,
        with_wrong_key=build("wrong", 15.0, key=wrong_key),
        unreachable=Elsewhere(build("unreachable", 2.0, hosts=f"{USER}@{NOWHERE}")),
        says_retry_after=False,
    )


def adapter(
    pool: Pool, home: Path, timeout_s: float = 15.0, key: str = "", hosts: str = "", **options: str
) -> SshHostsProvider:
    """An adapter with a home of its own; left out: the pool's key and hosts."""
    chosen = {"hosts": hosts or pool.option, "timeout_s": timeout_s, "python": str(pool.hosts[0].python), **options}
    secrets = {"private_key": key or pool.private_key}
    return SshHostsProvider(Setup("emulated", home, pool.clock, random.Random(str(home)), chosen, secrets))
