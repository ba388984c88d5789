"""What Nebius sells in one project's region: platforms with presets, their prices, and how many can be had now."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from godwit.domain import gpu_names
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Offer
from godwit.providers.nebius.account import PAGE_SIZE, Account
from nebius.api.google.protobuf import Any as Packed
from nebius.api.nebius.billing.v1 import (
    CalculatorServiceClient,
    EstimateBatchRequest,
    FilterAggregationUnit,
    ResourceSpec,
)
from nebius.api.nebius.capacity.v1 import ListResourceAdviceRequest, ResourceAdviceServiceClient, ResourceAdviceStatus
from nebius.api.nebius.common.v1 import ResourceMetadata
from nebius.api.nebius.compute.v1 import (
    CreateInstanceRequest,
    FollowsSpotPriceSpec,
    InstanceRecoveryPolicy,
    InstanceSpec,
    ListPlatformsRequest,
    PlatformServiceClient,
    PreemptibleSpec,
    ResourcesSpec,
)

BETWEEN = "_"
"""Between platform and preset in the name of a type: `gpu-h100-sxm_8gpu-128vcpu-1600gb`; neither has one."""

BATCH = 50
"""Types per estimate; no limit is documented, and a project sells a few dozen."""

_NUMBERED = "offer-"
_HOURLY = FilterAggregationUnit.FilterAggregationUnitValue.FILTER_AGGREGATION_UNIT_HOUR
_Availability = ResourceAdviceStatus.Availability
_NOT_KNOWN = (_Availability.DataState.DATA_STATE_UNSPECIFIED, _Availability.DataState.DATA_STATE_UNKNOWN)


@dataclass(frozen=True)
class Project:
    """Where machines are bought: its region, the tenant that owns it, and the subnet that machines join."""

    id: str
    region: str
    tenant: str
    subnet: str
    gpu_cluster: str | None = None


def bare_spec(offer: Offer) -> InstanceSpec:
    """What of a machine decides its price: platform, preset, and the market in which it is bought.

    A machine that is taken back, or that powers itself off, stays off; under the default policy it would be started
    and billed again.
    """
    platform, _, preset = offer.instance_type.partition(BETWEEN)
    spec = InstanceSpec(
        resources=ResourcesSpec(platform=platform, preset=preset), recovery_policy=InstanceRecoveryPolicy.FAIL
    )
    if offer.spot:
        spec.preemptible = PreemptibleSpec(on_preemption=PreemptibleSpec.PreemptionPolicy.STOP)
        spec.follows_spot_price = FollowsSpotPriceSpec()
    return spec


def offers(account: Account, provider: ProviderName, project: Project, now: float) -> Iterator[Offer]:
    """Every type with GPUs, on demand and preemptible, with the price and the stock of now."""
    request = lambda token: ListPlatformsRequest(parent_id=project.id, page_size=PAGE_SIZE, page_token=token)  # noqa: E731
    platforms = account.every(PlatformServiceClient, request)
    sold = [offer for platform in platforms for offer in _types(provider, project, platform, now)]
    prices = _prices(account, project, sold)
    stock = _stock(account, project)
    for offer in sold:
        if offer.key in prices:
            left = stock.get((offer.instance_type, offer.spot))
            yield replace(offer, price_usd_per_hour=prices[offer.key], capacity=left)


def _types(provider: ProviderName, project: Project, platform: Any, now: float) -> Iterator[Offer]:
    name, memory_gib = platform.metadata.name, float(platform.spec.gpu_memory_gigabytes)
    markets = (False, True) if platform.status.allowed_for_preemptibles else (False,)
    for preset in platform.spec.presets:
        if preset.resources.gpu_count == 0:
            continue
        for spot in markets:
            yield Offer(
                provider=provider,
                region=project.region,
                zone=None,
                instance_type=f"{name}{BETWEEN}{preset.name}",
                gpu_model=gpu_names.normalise(name, memory_gib) or name,
                gpu_count=preset.resources.gpu_count,
                gpu_memory_gib=memory_gib,
                cpus=preset.resources.vcpu_count,
                memory_gib=float(preset.resources.memory_gibibytes),
                price_usd_per_hour=0.0,
                spot=spot,
                fabric_domain=project.gpu_cluster if preset.allow_gpu_clustering else None,
                seen_at=now,
            )


def _prices(account: Account, project: Project, sold: Sequence[Offer]) -> Mapping[str, float]:
    """Price an hour by offer. Each estimate is asked for under the offer's number, which the answer repeats."""
    found: dict[str, float] = {}
    for start in range(0, len(sold), BATCH):
        asked = range(start, min(start + BATCH, len(sold)))
        request = EstimateBatchRequest(
            resource_specs=[_estimated(project, sold[number], number) for number in asked],
            filter_aggregation_unit=FilterAggregationUnit(filter_aggregation_unit_values=[_HOURLY]),
        )
        answer = account.ask(CalculatorServiceClient, "estimate_batch", request)
        for row in answer.resource_costs:
            offer = sold[int(row.metadata.name.removeprefix(_NUMBERED))]
            if row.general is not None and row.general.total.cost:
                found[offer.key] = float(row.general.total.cost)
    return found


def _estimated(project: Project, offer: Offer, number: int) -> ResourceSpec:
    metadata = ResourceMetadata(parent_id=project.id, name=f"{_NUMBERED}{number}")
    request = CreateInstanceRequest(metadata=metadata, spec=bare_spec(offer))
    url = "type.googleapis.com/nebius.compute.v1.CreateInstanceRequest"
    return ResourceSpec(spec=Packed(type_url=url, value=request.SerializeToString()))


def _stock(account: Account, project: Project) -> Mapping[tuple[str, bool], int]:
    """How many can be had by type and market: the most that one fabric has, since fabrics share the tenant's quota."""
    request = lambda token: ListResourceAdviceRequest(  # noqa: E731
        parent_id=project.tenant, page_size=PAGE_SIZE, page_token=token
    )
    found: dict[tuple[str, bool], int] = {}
    for row in account.every(ResourceAdviceServiceClient, request):
        machine = row.spec.compute_instance
        if row.spec.region != project.region or machine is None:
            continue
        kind = f"{machine.platform}{BETWEEN}{machine.preset.name}"
        for spot, told in ((False, row.status.on_demand), (True, row.status.preemptible)):
            if told.data_state not in _NOT_KNOWN:
                found[kind, spot] = max(found.get((kind, spot), 0), told.available)
    return found
