"""The rigs on which the one contract suite runs: each a provider, and the means to make it misbehave."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from godwit.domain.clock import ManualClock, SystemClock
from godwit.domain.errors import ProviderUnavailable
from godwit.domain.ids import InstanceId
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers.local.inventory import Inventory
from godwit.providers.local.provider import LocalProvider
from godwit.providers.protocol import LaunchRequest, Provider
from godwit.providers.simulated import catalogue, daemon
from godwit.providers.simulated.client import SimulatedProvider
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.faults import Faults
from godwit.providers.simulated.host import api_key
from godwit.providers.simulated.inprocess import InProcessProvider
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings

DEADLINE_S = 20.0
SLEEP = "#!/bin/sh\nexec sleep 1000\n"
CLOUD = "sim-aurora"
FINAL = (InstanceState.TERMINATED, InstanceState.FAILED, InstanceState.STOPPED)


@dataclass
class Rig:
    """A provider under test. `impatient` is the same account behind a client that waits half a second.

    `set_faults` is None where nothing can be made to go wrong. `boot_log` is None where machines are on paper.
    The traits say what a vendor's API does: whether a 503 on a launch promises that nothing was done, whether a 429
    says for how long, whether offers show how many can be had (`stock` then says how many there are), whether
    listings show prices, and whether machines that ended are shown as failed rather than left out. `unknown_word` is
    what the adapter calls the state that the fault `state_word="hibernating"` makes up.
    """

    provider: Provider
    impatient: Provider
    pass_time: Callable[[float], None]
    set_faults: Callable[[Faults], None] | None = None
    boot_log: Callable[[str], Path] | None = None
    secret: str | None = None
    with_wrong_key: Provider | None = None
    unreachable: Provider | None = None
    promises_on_5xx: bool = True
    says_retry_after: bool = True
    shows_capacity: bool = True
    lists_price: bool = True
    shows_failed: bool = True
    unknown_word: str = "hibernating"
    tokens: Iterator[str] = field(default_factory=lambda: (f"token-{random.getrandbits(40):x}" for _ in range(10_000)))

    def offer(self) -> Offer:
        """The cheapest thing on demand."""
        return min((o for o in self.provider.offers() if not o.spot), key=lambda o: o.price_usd_per_hour)

    def request(self, token: str | None = None, script: str = SLEEP) -> LaunchRequest:
        """A launch of it."""
        return LaunchRequest(self.offer(), token or next(self.tokens), "control-plane-1", script)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Let time pass until the condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            self.pass_time(0.05)

    def launch_many(self, request: LaunchRequest, count: int) -> None:
        """Launch the same thing `count` times, each with a token of its own."""
        for number in range(count):
            self.provider.launch(replace(request, token=f"token-many-{number}"))

    def listed(self, instance_id: str) -> Instance | None:
        """What the listing says of one instance."""
        return next((i for i in self.provider.instances() if i.id == instance_id), None)

    def is_gone(self, instance_id: str) -> bool:
        """Whether the listing says that it is gone."""
        instance = self.listed(instance_id)
        return instance is None or instance.state in FINAL

    def running(self, token: str | None = None, script: str = SLEEP) -> Instance:
        """Launch one and wait until it runs."""
        instance = self.provider.launch(self.request(token, script))
        self.wait_for(lambda: (i := self.listed(instance.id)) is not None and i.state is InstanceState.RUNNING)
        return instance

    def end(self, instance_id: str) -> None:
        """Terminate, again while the provider is not ready to: some refuse while a machine is being built."""

        def asked() -> bool:
            try:
                self.provider.terminate(InstanceId(instance_id))
            except ProviderUnavailable:
                return False
            return True

        self.wait_for(asked)

    def end_all(self) -> None:
        """Leave nothing behind."""
        if self.set_faults:
            self.set_faults(Faults())
        for instance in self.provider.instances():
            self.end(instance.id)
        self.wait_for(lambda: all(i.state in FINAL for i in self.provider.instances()))
        for provider in (self.provider, self.impatient, self.with_wrong_key, self.unreachable):
            close = getattr(provider, "close", None)
            if close is not None:
                close()


def in_process() -> Rig:
    """A cloud on paper, called directly."""
    clock = ManualClock()
    spec = catalogue.BUILT_IN[CLOUD]
    settings = CloudSettings(spec.name, spec.index, "127.16.1", spec.shapes, page_limit=2)
    cloud = Cloud(settings, clock, random.Random(7), PaperMachines())
    return Rig(
        provider=InProcessProvider(cloud, clock, wait=clock.advance),
        impatient=InProcessProvider(cloud, clock, timeout_s=0.5, wait=clock.advance),
        pass_time=clock.advance,
        set_faults=cloud.set_faults,
    )


def over_http(home: Path) -> Rig:
    """A cloud of real processes, behind its HTTP API."""
    state_dir = daemon.state_dir_of(home)
    base, key = f"{daemon.url_of(home)}/clouds/{CLOUD}", api_key(state_dir)

    def set_faults(faults: Faults) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        httpx.put(f"{base}/faults", json=faults.model_dump(), headers=headers).raise_for_status()

    return Rig(
        provider=SimulatedProvider(CLOUD, base, key, page_size=2),
        impatient=SimulatedProvider(CLOUD, base, key, timeout_s=0.5),
        pass_time=time.sleep,
        set_faults=set_faults,
        boot_log=lambda instance_id: state_dir / "boot_logs" / f"{instance_id}.log",
        secret=key,
        with_wrong_key=SimulatedProvider(CLOUD, base, "sim_wrong-key"),
        unreachable=SimulatedProvider(CLOUD, "http://127.0.0.1:9", key),
    )


def local(folder: Path) -> Rig:
    """This machine."""
    stock = Inventory(cpus=2, memory_gib=4.0)
    # Seeded by the folder: tests run side by side, and find processes by their machine's id.
    provider = LocalProvider("local", folder, SystemClock(), random.Random(str(folder)), stock)
    return Rig(
        provider=provider,
        impatient=provider,
        pass_time=time.sleep,
        boot_log=lambda instance_id: folder / "boot_logs" / f"{instance_id}.log",
    )
