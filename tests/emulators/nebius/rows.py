"""What the emulated services answer, as the SDK's messages."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from godwit.providers.simulated.catalogue import Shape
from nebius.api.nebius.billing.v1 import CostBreakdown, EstimateBatchResponse, GeneralResourceCost, ResourceCost
from nebius.api.nebius.capacity.v1 import (
    ComputeInstanceDetails,
    ResourceAdvice,
    ResourceAdviceSpec,
    ResourceAdviceStatus,
)
from nebius.api.nebius.common.v1 import (
    BadRequest,
    BadResourceState,
    NotEnoughResources,
    Operation,
    PermissionDenied,
    QuotaFailure,
    ResourceAlreadyExists,
    ResourceMetadata,
    ResourceNotFound,
    TooManyRequests,
)
from nebius.api.nebius.compute.v1 import (
    CreateInstanceRequest,
    Instance,
    InstanceSpec,
    InstanceStatus,
    Platform,
    PlatformSpec,
    PlatformStatus,
    Preset,
    PresetResources,
)
from nebius.api.nebius.iam.v1 import Container, ContainerStatus
from nebius.api.nebius.quotas.v1 import (
    ListQuotaAllowancesResponse,
    QuotaAllowance,
    QuotaAllowanceSpec,
    QuotaAllowanceStatus,
)
from nebius.api.nebius.vpc.v1 import ListSubnetsResponse, Subnet

TENANT = "tenant-e00all"
UNKNOWN_STATE = 99
_State = InstanceStatus.InstanceState
_STATES: dict[str, Any] = {
    "provisioning": _State.STOPPED, "running": _State.RUNNING, "stopping": _State.DELETING,
    "terminated": _State.STOPPED, "failed": _State.ERROR, "failed_late": _State.STOPPED,
}  # fmt: skip
_Availability = ResourceAdviceStatus.Availability
_FRESH = _Availability.DataState.DATA_STATE_FRESH
_DETAILS: dict[str, Any] = {
    "permission_denied": PermissionDenied, "too_many_requests": TooManyRequests, "quota_failure": QuotaFailure,
    "not_enough_resources": NotEnoughResources, "resource_already_exists": ResourceAlreadyExists,
    "bad_resource_state": BadResourceState, "resource_not_found": ResourceNotFound, "bad_request": BadRequest,
}  # fmt: skip


def detail(field: str) -> Any:
    """An empty detail of an error."""
    return _DETAILS[field]()


def type_of(order: CreateInstanceRequest) -> str:
    """The type that is ordered, as shapes name it."""
    return f"{order.spec.resources.platform}_{order.spec.resources.preset}"


def is_spot(spec: InstanceSpec) -> bool:
    """Whether it is preemptible; then a pricing model must be told too."""
    spot = bool(spec.check_presence("preemptible"))
    assert spot == (spec.which_field_in_oneof("pricing_model") == "follows_spot_price")
    return spot


def project(project_id: str, region: str) -> Container:
    """A project of the tenant."""
    return Container(metadata=ResourceMetadata(id=project_id, parent_id=TENANT), status=ContainerStatus(region=region))


def subnets(project_id: str) -> ListSubnetsResponse:
    """Its only subnet."""
    return ListSubnetsResponse(items=[Subnet(metadata=ResourceMetadata(id=f"vpcsubnet-{project_id}"))])


def platforms(shapes: Iterable[Shape]) -> list[Platform]:
    """One platform for each family of shapes, and one without GPUs."""
    found = [
        _platform(name, list(group)) for name, group in groupby(shapes, lambda s: s.instance_type.partition("_")[0])
    ]
    cpus = Preset(name="4vcpu-16gb", resources=PresetResources(vcpu_count=4, memory_gibibytes=16))
    return [Platform(metadata=ResourceMetadata(name="cpu-d3"), spec=PlatformSpec(presets=[cpus])), *found]


def _platform(name: str, shapes: Sequence[Shape]) -> Platform:
    presets = [
        Preset(
            name=shape.instance_type.partition("_")[2],
            resources=PresetResources(
                vcpu_count=shape.cpus, memory_gibibytes=int(shape.memory_gib), gpu_count=shape.gpu_count
            ),
            allow_gpu_clustering=shape.gpu_count == 8,
        )
        for shape in shapes
    ]
    return Platform(
        metadata=ResourceMetadata(name=name),
        spec=PlatformSpec(presets=presets, gpu_memory_gigabytes=int(shapes[0].gpu_memory_gib)),
        status=PlatformStatus(allowed_for_preemptibles=shapes[0].spot_price_usd_per_hour is not None),
    )


def estimates(priced: Iterable[tuple[CreateInstanceRequest, float]]) -> EstimateBatchResponse:
    """The costs of machines."""
    return EstimateBatchResponse(
        resource_costs=[
            ResourceCost(
                metadata=order.metadata, general=GeneralResourceCost(total=CostBreakdown(cost=repr(usd)))
            )
            for order, usd in priced
        ]
    )  # fmt: skip


def advice(shape: Shape, fabric: str, available: int) -> ResourceAdvice:
    """How many of a shape a fabric has; nobody knows how many preemptible ones."""
    platform, _, preset = shape.instance_type.partition("_")
    return ResourceAdvice(
        spec=ResourceAdviceSpec(
            region=shape.region,
            fabric=fabric,
            compute_instance=ComputeInstanceDetails(
                platform=platform, preset=ComputeInstanceDetails.Preset(name=preset)
            ),
        ),
        status=ResourceAdviceStatus(
            on_demand=_Availability(data_state=_FRESH, available=available),
            preemptible=_Availability(data_state=_Availability.DataState.DATA_STATE_UNKNOWN),
        ),
    )


def quotas() -> ListQuotaAllowancesResponse:
    """A quota of GPUs and another."""
    told = (("compute.instance.gpu.h100", 16, 5), ("vpc.network.count", 10, 1))
    return ListQuotaAllowancesResponse(
        items=[
            QuotaAllowance(
                metadata=ResourceMetadata(name=name),
                spec=QuotaAllowanceSpec(limit=limit, region="eu-north1"),
                status=QuotaAllowanceStatus(usage=usage),
            )
            for name, limit, usage in told
        ]
    )


def operation(key: str, instance_id: str) -> Operation:
    """An operation that has begun."""
    return Operation(id=f"computeoperation-{key}", resource_id=instance_id)


def instance(row: dict[str, Any], order: CreateInstanceRequest, state: str, *, reconciling: bool) -> Instance:
    """A machine as listings show it; a state that the SDK does not know has a number all the same."""
    status = InstanceStatus(reconciling=reconciling, state=_STATES.get(state, UNKNOWN_STATE))
    metadata = ResourceMetadata(
        id=row["id"], parent_id=order.metadata.parent_id, name=order.metadata.name, labels=dict(order.metadata.labels),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
    )  # fmt: skip
    return Instance(metadata=metadata, spec=order.spec, status=status)
