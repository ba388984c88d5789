"""What every service and loop needs, picked once by the wiring in `embedded.py` and passed down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from godwit.control_plane import credentials
from godwit.control_plane.agents_tls import AgentsTls
from godwit.control_plane.envelope import Envelope
from godwit.control_plane.executors.brokers import Courier
from godwit.control_plane.hints import Hints
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.loads import Loads
from godwit.control_plane.metrics.instruments import Instruments
from godwit.control_plane.notifying.targets import Target
from godwit.control_plane.store.database import Database
from godwit.control_plane.tracing import NOWHERE, Spans
from godwit.control_plane.version import AGENT_PACKAGE
from godwit.domain.clock import Clock
from godwit.domain.ids import IdSource, ProviderName
from godwit.providers.protocol import Provider
from godwit.scheduler.snapshot import Policy


@dataclass(frozen=True)
class Context:
    """The seams to the world and the settings that decisions depend on.

    `url` is where agents reach this control plane. `identity` marks what it launches. `store_url` is the default
    checkpoint store. `serving_since` is when it began to hear agents. `heartbeat_s` is how often agents report, and
    `credential_s` how long their credentials live. `agent_package` is what a machine without the agent installs.
    `instruments` count and time what is done. `targets` are told of what happens. `spans` takes traces. `prometheus`
    are the addresses that services may be scaled by queries to. `loads` is how hard GPUs work, as agents told this
    process. `courier` tells workers of intents; without one, the control plane that leads carries them out itself.
    `envelope` seals the secrets of projects. `leads` is asked before anything is begun outside that only one may begin;
    `steady_since` says since when what is written each second was. `agents_tls`: agents have a listener of their own.
    """

    db: Database
    hints: Hints
    clock: Clock
    ids: IdSource
    keyring: Keyring
    providers: Mapping[ProviderName, Provider]
    identity: str
    url: str
    store_url: str
    serving_since: float
    policy: Policy = field(default_factory=Policy)
    heartbeat_s: float = 1.0
    credential_s: float = credentials.LIFE_S
    agent_package: str = AGENT_PACKAGE
    seed: int = 0
    targets: tuple[Target, ...] = ()
    spans: Spans = NOWHERE
    prometheus: tuple[str, ...] = ()
    instruments: Instruments = field(default_factory=Instruments)
    loads: Loads = field(default_factory=Loads)
    courier: Courier | None = None
    envelope: Envelope = field(default_factory=Envelope)
    leads: Callable[[], bool] = lambda: True
    steady_since: Callable[[], float] = lambda: 0.0
    agents_tls: AgentsTls | None = None

    def now(self) -> float:
        """The current instant."""
        return self.clock.now()

    @property
    def hearing_since(self) -> float:
        """Since when agents are heard without a break: while the database was away, nobody could write them down."""
        return max(self.serving_since, self.db.away_at, self.steady_since())
