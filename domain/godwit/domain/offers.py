"""What the market sells: instance types one can buy now, and the instances one has bought."""

from dataclasses import dataclass
from enum import StrEnum

from godwit.domain.ids import InstanceId, OfferKey, ProviderName


@dataclass(frozen=True)
class Offer:
    """An instance type that one can buy now at one provider, in one place, at one price.

    `gpu_memory_gib` is per GPU; `memory_gib` is the machine's. `capacity` is how many instances can be had now,
    None when the provider does not say. `seen_at` is when this figure was read, `source` from where
    ("live" from the provider's API, "catalogue" from a dated list). `fabric_domain` names the NVLink, InfiniBand or
    RoCE fabric that instances of this offer share with each other; None means that they share none. `billing_step_s` is
    what a started unit of billing lasts: a machine that is given back early in one is paid for to its end.
    `no_process_saves` says why programs cannot be saved from outside on its machines, `no_gpu_process_saves` why those
    with GPUs cannot; empty where they can, and where nobody knows yet. A node's agent says it, never a provider.
    """

    provider: ProviderName
    region: str
    zone: str | None
    instance_type: str
    gpu_model: str | None
    gpu_count: int
    gpu_memory_gib: float
    cpus: int
    memory_gib: float
    price_usd_per_hour: float
    spot: bool = False
    capacity: int | None = None
    fabric_domain: str | None = None
    seen_at: float = 0.0
    source: str = "live"
    billing_step_s: float = 1.0
    no_process_saves: str = ""
    no_gpu_process_saves: str = ""

    @property
    def key(self) -> OfferKey:
        """Names this offer across refreshes: provider, place, type, and spot or on-demand."""
        market = "spot" if self.spot else "on-demand"
        return OfferKey(f"{self.provider}/{self.region}/{self.zone or '-'}/{self.instance_type}/{market}")

    @property
    def price_usd_per_gpu_hour(self) -> float:
        """Price per GPU; of the whole machine when it has none."""
        return self.price_usd_per_hour / max(1, self.gpu_count)


class InstanceState(StrEnum):
    """What a provider says of an instance, in words common to all; `UNKNOWN` is for a vendor state not seen before."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Instance:
    """A machine as its provider lists it.

    `token` is the launch token that godwit tagged it with, None on a machine that godwit did not launch.
    `owner` is the control plane's identity from the tags. `detail` is the provider's own word for its state.
    `billed_until` is when its meter stopped; None while it runs, and where the provider does not say.
    """

    id: InstanceId
    provider: ProviderName
    state: InstanceState
    region: str
    zone: str | None
    instance_type: str
    token: str | None
    owner: str | None
    spot: bool
    price_usd_per_hour: float
    created_at: float
    detail: str = ""
    billed_until: float | None = None
