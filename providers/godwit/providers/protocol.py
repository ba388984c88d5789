"""The one seam between godwit and a cloud.

Every method may block on the network and may be called from several threads at once. Errors are those of
`godwit.domain.errors`, sorted by what the caller does next; an SDK's own exceptions never get out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from godwit.domain.drills import Drill
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer


@dataclass(frozen=True)
class LaunchRequest:
    """One machine to buy.

    `token` is unique to the intent behind it: the instance is tagged with it, and a provider with a client token of
    its own gets it as that. `owner` is the control plane's identity, tagged too. `startup_script` is a shell script
    that the machine runs once as it boots; it must fit `Capabilities.startup_limit_bytes`.
    """

    offer: Offer
    token: str
    owner: str
    startup_script: str


class StartupHook(StrEnum):
    """How a machine gets its startup script."""

    CLOUD_INIT = "cloud-init"
    CONTAINER = "container"
    SSH = "ssh"
    PROCESS = "process"


@dataclass(frozen=True)
class Capabilities:
    """What this provider can do, declared; callers ask for a capability, never for a class.

    `startup_limit_bytes` bounds the startup script. `client_token` says that the provider itself makes a repeated
    launch harmless. `fabric` says that instances can share a fabric domain, `volumes` that disks outlive them.
    `billing_step_s` is what a started unit of billing lasts, `billing_least_s` the shortest time that is billed.
    `drills` are the faults that can be injected on purpose: where there are any, the provider also is a `FaultPanel`.
    """

    spot: bool = False
    fabric: bool = False
    volumes: bool = False
    client_token: bool = False
    startup: StartupHook = StartupHook.CLOUD_INIT
    startup_limit_bytes: int = 16_384
    billing_step_s: float = 1.0
    billing_least_s: float = 0.0
    drills: frozenset[Drill] = frozenset()


@dataclass(frozen=True)
class Quota:
    """What is left of one of an account's limits; `left` None when the provider does not say."""

    name: str
    limit: float | None
    left: float | None


@dataclass(frozen=True)
class Standing:
    """How an account stands: who it is, what its credentials permit as far as one cheap read tells, what is left."""

    account: str
    permitted: tuple[str, ...] = ()
    quotas: tuple[Quota, ...] = ()


class Provider(Protocol):
    """A configured account at a cloud, or a machine of one's own that behaves like one."""

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def check(self) -> Standing:
        """One cheap read that proves the credentials. Raises like `offers`."""
        ...

    def offers(self) -> Sequence[Offer]:
        """Everything that can be bought now, complete.

        Raises `ProviderUnavailable`, `RateLimited` or `CredentialsRejected`.
        """
        ...

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine; returns it as first seen.

        At most once per token is the caller's duty: after `UnknownOutcome` it looks for the token in `instances()`
        before it calls again. Raises `NoCapacity`, `QuotaExceeded`, `RateLimited`, `CredentialsRejected`,
        `RequestRejected`, `ProviderUnavailable` (nothing was created) or `UnknownOutcome` (something may have been).
        """
        ...

    def instances(self) -> Sequence[Instance]:
        """Every instance of the account, godwit's own and foreign ones, complete: paged to the end.

        A machine that is gone may be listed as `terminated` for a while or be absent; both mean gone. A list may lag
        behind a launch by seconds. Raises like `offers`.
        """
        ...

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask for the end of an instance; an unknown or ended one is no error. Gone is what `instances()` says."""
        ...


class FaultPanel(Protocol):
    """A provider whose machines can be broken on purpose."""

    def drill(self, instance_id: InstanceId, kind: Drill, gpu: int | None = None) -> None:
        """Break a machine, or one GPU of it (by index), and tell nobody. `kind` is one of `Capabilities.drills`.

        With `NODE_LOSS` all its processes die at once. Raises `RequestRejected` for a machine that is not there, and
        for one that is not up, unless its power is to be cut: then it is cut already.
        """
        ...
