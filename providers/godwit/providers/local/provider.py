"""The provider of this machine: one node at a time, free of charge, started as a process of its own session."""

import json
import os
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from godwit.domain.clock import Clock
from godwit.domain.drills import OF_THE_CLOUD, Drill
from godwit.domain.errors import NoCapacity, ProviderUnavailable, RequestRejected
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers import files, processes
from godwit.providers.hosted import HostedMachines, network_of
from godwit.providers.kinds import Setup
from godwit.providers.local import inventory
from godwit.providers.machines import Machine
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing, StartupHook

REGION = "here"
INSTANCE_TYPE = "this-machine"
LISTED_S = 600.0
"""How long an instance that has ended stays in the listing."""

_PASSED_ON = ("LD_LIBRARY_PATH", "TZ", "USER", "LOGNAME")
"""Besides PATH and HOME: what programs need to find this machine's libraries and names. Nothing secret."""


@dataclass(frozen=True)
class _Instance:
    id: str
    token: str
    owner: str
    created_at: float
    state: InstanceState
    ended_at: float | None = None

    @property
    def live(self) -> bool:
        return self.ended_at is None


class LocalProvider:
    """A `Provider` and `FaultPanel` over this machine. Its node survives the process that started it.

    State lies in `state_dir`. Safe to call from several threads, from one process at a time.
    """

    def __init__(
        self,
        name: str,
        state_dir: Path,
        clock: Clock,
        rng: random.Random,
        stock: inventory.Inventory | None = None,
    ) -> None:
        self._name = ProviderName(name)
        self._clock = clock
        self._rng = rng
        self._stock = stock or inventory.take()
        self._file = files.private_folder(state_dir) / "instances.json"
        self._network = network_of(state_dir, 0)
        self._machines = HostedMachines(state_dir, environment())
        self._lock = threading.RLock()
        self._instances = _read(self._file)

    def __repr__(self) -> str:
        return f"LocalProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """No spot; drills end the node's processes, not this machine."""
        return Capabilities(
            client_token=True,
            volumes=True,
            startup=StartupHook.PROCESS,
            startup_limit_bytes=65_536,
            drills=OF_THE_CLOUD - {Drill.SPOT_NOTICE},
        )

    def check(self) -> Standing:
        """This machine is always here."""
        return Standing("this machine", ("read", "launch", "terminate"))

    def offers(self) -> Sequence[Offer]:
        """The one offer: this machine."""
        with self._lock:
            self._look()
            return [self._offer()]

    def _offer(self) -> Offer:
        taken = any(instance.live for instance in self._instances.values())
        return Offer(
            provider=self._name,
            region=REGION,
            zone=None,
            instance_type=INSTANCE_TYPE,
            gpu_model=self._stock.gpu_model,
            gpu_count=self._stock.gpu_count,
            gpu_memory_gib=self._stock.gpu_memory_gib,
            cpus=self._stock.cpus,
            memory_gib=self._stock.memory_gib,
            price_usd_per_hour=0.0,
            capacity=0 if taken else 1,
            seen_at=self._clock.now(),
        )

    def launch(self, request: LaunchRequest) -> Instance:
        """Start the node; the same token answers the same one. Raises `NoCapacity` while another is up."""
        with self._lock:
            self._look()
            for known in self._instances.values():
                if known.token == request.token:
                    return self._view(known)
            if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
                raise RequestRejected(f"{self._name}: the startup script exceeds its limit")
            if request.offer.instance_type != INSTANCE_TYPE:
                raise RequestRejected(f"{self._name} offers {INSTANCE_TYPE} only, not {request.offer.instance_type}")
            if any(instance.live for instance in self._instances.values()):
                raise NoCapacity(f"{self._name}: this machine already is a node")
            return self._view(self._start(request))

    def _start(self, request: LaunchRequest) -> _Instance:
        number = 1 + self._rng.randrange(250)
        instance_id = f"local-{self._rng.getrandbits(40):010x}"
        fresh = _Instance(instance_id, request.token, request.owner, self._clock.now(), InstanceState.RUNNING)
        self._keep(fresh)  # first, so that a crash between here and the start leaves a trace
        machine = Machine(instance_id, f"0-{number}", f"{self._network}.{number}", request.startup_script, None)
        try:
            self._machines.boot(machine)
        except OSError as exc:
            self._machines.cut(instance_id)
            self._drop(instance_id)
            raise ProviderUnavailable(f"{self._name} could not start a node: {exc}") from exc
        return fresh

    def instances(self) -> Sequence[Instance]:
        """The node that is up, and those that ended lately."""
        with self._lock:
            self._look()
            return [self._view(instance) for instance in self._instances.values()]

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask for the end of the node; an unknown or ended one is no error."""
        self._end(instance_id)
        self._machines.stop(instance_id)

    def drill(self, instance_id: InstanceId, kind: Drill, gpu: int | None = None) -> None:
        """End all the node's processes at once, or its agent. The listing says so when the last one is gone."""
        if kind is Drill.NODE_LOSS:
            self._machines.cut(instance_id)
        else:
            self._machines.drill(instance_id, kind, gpu)

    def end_all(self) -> None:
        """End every node of this state folder."""
        for instance_id in self._machines.known():
            self.terminate(InstanceId(instance_id))

    def busy(self) -> bool:
        """Whether a process of a node is left."""
        return bool(self._machines.known())

    def _end(self, instance_id: str) -> None:
        with self._lock:
            instance = self._instances.get(instance_id)
            if instance is None:
                return
            if instance.live:
                self._keep(replace(instance, state=InstanceState.STOPPING))
            elif instance.state is InstanceState.FAILED:
                # Nothing of it is left, and that it has ended is what was asked for.
                self._keep(replace(instance, state=InstanceState.TERMINATED))

    def _look(self) -> None:
        """Bring what we say of the instances up to date with their processes."""
        now = self._clock.now()
        self._machines.bound_logs()
        for instance in list(self._instances.values()):
            if not instance.live:
                if now - (instance.ended_at or 0.0) > LISTED_S:
                    self._drop(instance.id)
            elif self._machines.is_gone(instance.id):
                stopped = instance.state is InstanceState.STOPPING
                end = InstanceState.TERMINATED if stopped else InstanceState.FAILED
                self._keep(replace(instance, state=end, ended_at=now))
            elif self._machines.has_crashed(instance.id):
                self._machines.cut(instance.id)  # failed is said once nothing of it is left

    def _keep(self, instance: _Instance) -> None:
        self._write(self._instances | {instance.id: instance})

    def _drop(self, instance_id: str) -> None:
        self._write({key: value for key, value in self._instances.items() if key != instance_id})

    def _write(self, instances: Mapping[str, _Instance]) -> None:
        files.write_private(self._file, json.dumps([asdict(instance) for instance in instances.values()]))
        self._instances = dict(instances)

    def _view(self, instance: _Instance) -> Instance:
        return Instance(
            id=InstanceId(instance.id),
            provider=self._name,
            state=instance.state,
            region=REGION,
            zone=None,
            instance_type=INSTANCE_TYPE,
            token=instance.token,
            owner=instance.owner,
            spot=False,
            price_usd_per_hour=0.0,
            created_at=instance.created_at,
            detail=instance.state.value,
        )


def environment() -> dict[str, str]:
    """What a node on this machine starts from: the user's PATH and HOME, and nothing that may be secret."""
    path = os.environ.get("PATH", processes.STANDARD_PATH)
    base = processes.base_environment(Path.home(), path)
    return base | {key: os.environ[key] for key in _PASSED_ON if key in os.environ}


def _read(path: Path) -> dict[str, _Instance]:
    if not path.exists():
        return {}
    rows = [_Instance(**row) for row in json.loads(path.read_text())]
    return {row.id: replace(row, state=InstanceState(row.state)) for row in rows}


def from_setup(setup: Setup) -> LocalProvider:
    """The provider of this machine, with its state under the home."""
    return LocalProvider(setup.name, setup.home / "local", setup.clock, setup.rng)
