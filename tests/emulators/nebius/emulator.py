"""Nebius AI Cloud over gRPC, on the SDK's own messages.

A machine that has just been ordered is STOPPED and reconciling; one that never came up, and one that was taken back,
stay STOPPED until they are deleted; deleted ones leave the list. A repeated idempotency key answers the same
operation, a repeated name is refused. Quota, capacity and too many requests are all RESOURCE_EXHAUSTED and told apart
by their detail alone. Prices are an estimate, stock is advice of another service for a whole tenant, by fabric, and
platforms sell types without GPUs too. Tokens are bought with a signed JWT.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grpc
import jwt
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from google.protobuf import any_pb2
from google.rpc import status_pb2
from nebius.api.nebius.billing.v1 import EstimateBatchRequest, EstimateBatchResponse
from nebius.api.nebius.capacity.v1 import ListResourceAdviceRequest, ListResourceAdviceResponse
from nebius.api.nebius.common.v1 import GetByNameRequest, Operation, ServiceError
from nebius.api.nebius.compute.v1 import (
    CreateInstanceRequest,
    DeleteInstanceRequest,
    Instance,
    ListInstancesRequest,
    ListInstancesResponse,
    ListPlatformsRequest,
    ListPlatformsResponse,
)
from nebius.api.nebius.iam.v1 import Container, CreateTokenResponse, ExchangeTokenRequest, GetProjectRequest
from nebius.api.nebius.quotas.v1 import ListQuotaAllowancesRequest, ListQuotaAllowancesResponse
from nebius.api.nebius.vpc.v1 import ListSubnetsRequest, ListSubnetsResponse

from tests.emulators.emulator import API_KEY, Emulator
from tests.emulators.nebius import rows
from tests.emulators.nebius.keys import PUBLIC_KEY, SERVICE_ACCOUNT
from tests.emulators.nebius.serving import Call, GrpcServing

PROJECT = "project-e00north"
PROJECTS = {PROJECT: "eu-north1", "project-e01west": "eu-west1"}
USER_DATA_CHARACTERS = 32_768
TOKEN_LIFE_S = 43_200

SHAPES = (
    Shape("gpu-h100-sxm_1gpu-16vcpu-200gb", "eu-north1", "H100-SXM", 1, 80.0, 16, 200.0, 2.95, 1.25, 8),
    Shape("gpu-h100-sxm_8gpu-128vcpu-1600gb", "eu-north1", "H100-SXM", 8, 80.0, 128, 1600.0, 23.6, 10.0, 2),
    Shape("gpu-l40s-a_1gpu-8vcpu-32gb", "eu-north1", "L40S", 1, 48.0, 8, 32.0, 3.5484, None, 3),
    Shape("gpu-h200-sxm_1gpu-16vcpu-200gb", "eu-west1", "H200-SXM", 1, 141.0, 16, 200.0, 3.5, 1.45, 1),
)

_REFUSALS: dict[str, tuple[grpc.StatusCode, dict[str, Any]]] = {
    "unauthorized": (grpc.StatusCode.UNAUTHENTICATED, {}),
    "forbidden": (grpc.StatusCode.PERMISSION_DENIED, {"permission_denied": {}}),
    "unavailable": (grpc.StatusCode.UNAVAILABLE, {}),
    "too_many_requests": (grpc.StatusCode.RESOURCE_EXHAUSTED, {"too_many_requests": {}}),
    "no_capacity": (grpc.StatusCode.RESOURCE_EXHAUSTED, {"not_enough_resources": {}}),
    "quota_exceeded": (grpc.StatusCode.RESOURCE_EXHAUSTED, {"quota_failure": {}}),
    "name_taken": (grpc.StatusCode.ALREADY_EXISTS, {"resource_already_exists": {}}),
    "being_created": (grpc.StatusCode.FAILED_PRECONDITION, {"bad_resource_state": {}}),
    "no_such_instance": (grpc.StatusCode.NOT_FOUND, {"resource_not_found": {}}),
    "no_such_type": (grpc.StatusCode.NOT_FOUND, {"resource_not_found": {}}),
}


class NebiusEmulator(GrpcServing, Emulator):
    """Facade over a `Cloud` with Nebius' services. `orders` are the launches as they came."""

    def __init__(self, shapes: Sequence[Shape] = SHAPES, *, quota_gpus: int | None = None) -> None:
        super().__init__(shapes, quota_gpus=quota_gpus)
        self.orders: list[CreateInstanceRequest] = []
        self.tokens_sold = 0
        self.valid_tokens: set[str] = set()
        self.fails_late = False
        """Launches are accepted, and their operation fails afterwards."""
        self.forbids_quotas = False
        self.tells_details = True
        self.busy: set[str] = set()
        """Machines that cannot be deleted yet."""
        self.failed_late: set[str] = set()
        self._requests: dict[str, CreateInstanceRequest] = {}
        self._operations: dict[str, tuple[bytes, Operation]] = {}
        self._deleted: set[str] = set()

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The calls that the adapter makes."""
        return {
            "nebius.iam.v1.TokenExchangeService/Exchange": self.exchange,
            "nebius.iam.v1.ProjectService/Get": self.project,
            "nebius.vpc.v1.SubnetService/List": self.subnets,
            "nebius.compute.v1.PlatformService/List": self.platforms,
            "nebius.billing.v1.CalculatorService/EstimateBatch": self.estimates,
            "nebius.capacity.v1.ResourceAdviceService/List": self.advice,
            "nebius.quotas.v1.QuotaAllowanceService/List": self.quotas,
            "nebius.compute.v1.InstanceService/List": self.instances,
            "nebius.compute.v1.InstanceService/GetByName": self.by_name,
            "nebius.compute.v1.InstanceService/Create": self.create,
            "nebius.compute.v1.InstanceService/Delete": self.delete,
        }

    def status_of(self, refused: Refused) -> tuple[grpc.StatusCode, bytes]:
        """A refusal in the vendor's words: a code, and a status with a detail."""
        code, detail = _REFUSALS.get(refused.code, (grpc.StatusCode.INVALID_ARGUMENT, {"bad_request": {}}))
        details = []
        if detail and self.tells_details:
            error = ServiceError(service="compute", code=refused.code, **{k: rows.detail(k) for k in detail})
            url = "type.googleapis.com/nebius.common.v1.ServiceError"
            details = [any_pb2.Any(type_url=url, value=error.SerializeToString())]
        status = status_pb2.Status(code=code.value[0], message=str(refused), details=details)
        return code, status.SerializeToString()

    def exchange(self, call: Call) -> CreateTokenResponse:
        """A token for a JWT that the account's key has signed."""
        request = ExchangeTokenRequest.FromString(call.body)
        header = jwt.get_unverified_header(request.subject_token)
        try:
            claims = jwt.decode(request.subject_token, PUBLIC_KEY, ["RS256"], options={"verify_aud": False})
        except jwt.InvalidTokenError as exc:
            raise Refused(401, "unauthorized", "the signature is wrong") from exc
        if header["kid"] != API_KEY or claims["sub"] != SERVICE_ACCOUNT:
            raise Refused(401, "unauthorized", "there is no such key")
        self.tokens_sold += 1
        token = f"token-of-the-emulator-{self.tokens_sold}"
        self.valid_tokens.add(token)
        return CreateTokenResponse(access_token=token, token_type="Bearer", expires_in=TOKEN_LIFE_S)

    def project(self, call: Call) -> Container:
        """A project, its tenant and its region."""
        self.cloud.offers()  # a cloud that is down says so
        project_id = GetProjectRequest.FromString(call.body).id
        if project_id not in PROJECTS:
            raise Refused(404, "no_such_instance", f"there is no project {project_id}")
        return rows.project(project_id, PROJECTS[project_id])

    def subnets(self, call: Call) -> ListSubnetsResponse:
        """One subnet each."""
        self.cloud.offers()
        return rows.subnets(ListSubnetsRequest.FromString(call.body).parent_id)

    def platforms(self, call: Call) -> ListPlatformsResponse:
        """What the project's region sells."""
        self.cloud.offers()
        request = ListPlatformsRequest.FromString(call.body)
        found, more = _page(rows.platforms(self._shapes(request.parent_id)), request)
        return ListPlatformsResponse(items=found, next_page_token=more)

    def estimates(self, call: Call) -> EstimateBatchResponse:
        """The price an hour of each of the machines described."""
        self.cloud.offers()
        request = EstimateBatchRequest.FromString(call.body)
        hourly = request.filter_aggregation_unit.filter_aggregation_unit_values
        assert [unit.name for unit in hourly] == ["FILTER_AGGREGATION_UNIT_HOUR"]
        asked = [CreateInstanceRequest.FromString(spec.spec.value) for spec in request.resource_specs]
        # Nothing promises the order of the answers.
        return rows.estimates([(order, self._price(order)) for order in reversed(asked)])

    def advice(self, call: Call) -> ListResourceAdviceResponse:
        """What is to be had in every region of the tenant: all of it in one fabric, one machine less in the other."""
        self.cloud.offers()
        request = ListResourceAdviceRequest.FromString(call.body)
        assert request.parent_id == rows.TENANT
        told = [
            rows.advice(shape, fabric, max(0, self.available(shape) - less))
            for shape in self.cloud.settings.shapes
            for fabric, less in (("fabric-2", 1), ("fabric-7", 0))
        ]
        found, more = _page(told, request)
        return ListResourceAdviceResponse(items=found, next_page_token=more)

    def quotas(self, call: Call) -> ListQuotaAllowancesResponse:
        """Two: one of GPUs, and one that matters to nobody here."""
        self.cloud.offers()
        if self.forbids_quotas:
            raise Refused(403, "forbidden", "no role allows it")
        assert ListQuotaAllowancesRequest.FromString(call.body).parent_id == rows.TENANT
        return rows.quotas()

    def instances(self, call: Call) -> ListInstancesResponse:
        """The machines of a project, those included that were taken back and not deleted."""
        request = ListInstancesRequest.FromString(call.body)
        region = PROJECTS[request.parent_id]
        found = [self._instance(row) for row in self.rows() if row["region"] == region and self._is_kept(row)]
        items, more = _page(found, request)
        return ListInstancesResponse(items=items, next_page_token=more)

    def by_name(self, call: Call) -> Instance:
        """One machine."""
        request = GetByNameRequest.FromString(call.body)
        for row in self.rows():
            if row["tags"]["name"] == request.name and self._is_kept(row):
                return self._instance(row)
        raise Refused(404, "no_such_instance", f"there is no {request.name}")

    def create(self, call: Call) -> Operation:
        """Sell one, once for each key and for each name."""
        order = CreateInstanceRequest.FromString(call.body)
        self.cloud.offers()
        body, operation = self._operations.get(call.key, (b"", None))
        if operation is not None and body == call.body:
            return operation
        self.orders.append(order)
        if len(order.spec.cloud_init_user_data) > USER_DATA_CHARACTERS:
            raise Refused(400, "bad_request", "cloud_init_user_data is too long")
        if any(row["tags"]["name"] == order.metadata.name for row in self.cloud_rows() if self._is_kept(row)):
            raise Refused(409, "name_taken", f"there is a machine called {order.metadata.name}")
        shape = self.shape(rows.type_of(order), PROJECTS[order.metadata.parent_id])
        marks = {**order.metadata.labels, "name": order.metadata.name}
        row = self.launch(shape, marks, spot=rows.is_spot(order.spec))
        self._requests[row["id"]] = order
        if self.fails_late:
            self.failed_late.add(row["id"])
        operation = rows.operation(call.key, row["id"])
        self._operations[call.key] = (call.body, operation)
        return operation

    def delete(self, call: Call) -> Operation:
        """End one; one that is gone is not found."""
        instance_id = DeleteInstanceRequest.FromString(call.body).id
        if instance_id in self.busy:
            raise Refused(409, "being_created", "another operation on this machine goes on")
        row = self.cloud.instance(instance_id)
        if not self._is_kept(row):
            raise Refused(404, "no_such_instance", f"there is no instance {instance_id}")
        self.cloud.terminate(instance_id)
        self._deleted.add(instance_id)
        return rows.operation(call.key, instance_id)

    def cloud_rows(self) -> Iterable[dict[str, Any]]:
        """Every machine as it is, however far listings lag behind."""
        return [self.cloud.instance(instance_id) for instance_id in self._requests]

    def _is_kept(self, row: dict[str, Any]) -> bool:
        """Whether anything of it is left: of one that was taken back, its disk is."""
        return bool(row["state"] != "terminated" or (row["detail"] and row["id"] not in self._deleted))

    def _instance(self, row: dict[str, Any]) -> Instance:
        state, reconciling = row["state"], row["state"] == "provisioning"
        if row["id"] in self.failed_late and state in {"provisioning", "running"}:
            state, reconciling = "failed_late", False
        return rows.instance(row, self._requests[row["id"]], state, reconciling=reconciling)

    def _shapes(self, project_id: str) -> list[Shape]:
        return [shape for shape in self.cloud.settings.shapes if shape.region == PROJECTS[project_id]]

    def _price(self, order: CreateInstanceRequest) -> float:
        shape = self.shape(rows.type_of(order), PROJECTS[order.metadata.parent_id])
        return (shape.spot_price_usd_per_hour or 0.0) if rows.is_spot(order.spec) else shape.price_usd_per_hour


def _page(items: Sequence[Any], request: Any) -> tuple[list[Any], str]:
    """Two items, and the token of the rest."""
    start = int(request.page_token or 0)
    more = start + 2 < len(items)
    return list(items[start : start + 2]), str(start + 2) if more else ""
