"""Crusoe: each request is signed, launches are operations that may fail after they were accepted (out of stock too) and
leave a machine behind, what is not there is answered with 403, there are no tags, no prices, no Retry-After, and the
words of states come with "STATE_" or without.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from godwit.domain.errors import CredentialsRejected
from godwit.providers.crusoe.signing import signed
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tests.emulators.emulator import API_KEY, Emulator, answer

ACCESS_KEY_ID = "AK-EMULATED"
PROJECT = "09ae8411-0fbb-411c-898c-2b8f19622ae1"
PARTITION = "44701f9e-845c-4005-9240-adee6401b8d3"
SKEW_S = 300.0
WEST = "us-northcentral1-a"

SHAPES = (
    Shape("a40.1x", WEST, "A40", 1, 48.0, 6, 60.0, 0.90, None, 8),
    Shape("l40s-48gb.2x", WEST, "L40S", 2, 48.0, 16, 294.0, 2.00, None, 4),
    Shape("h100-80gb-sxm-ib.8x", "us-east1-a", "H100-SXM", 8, 80.0, 176, 960.0, 31.20, None, 2),
    Shape("b200-180gb-sxm-ib.8x", "us-east1-a", "B200", 8, 180.0, 208, 2048.0, 0.0, None, 2),
)
_GPU_TYPES = {"A40": "A40-PCIe-48GB", "L40S": "L40S-48GB", "H100-SXM": "H100-SXM-80GB", "B200": "B200-SXM-180GB"}
_STATES = {"provisioning": "STATE_CREATING", "running": "STATE_RUNNING", "stopping": "DELETING", "failed": "STOPPED"}
_REFUSALS = {
    401: "bad_credential", 403: "unauthorized", 404: "not_found", 400: "bad_request", 429: "too_many_requests",
    503: "internal_error",
}  # fmt: skip
_BASE = f"/v1/projects/{PROJECT}"
_VMS = f"{_BASE}/compute/vms/instances"


class CrusoeEmulator(Emulator):
    """Facade over a `Cloud` with Crusoe's routes."""

    spec = "crusoe.json"
    spec_prefix = "/v1"

    def __init__(self, shapes: Sequence[Shape] = SHAPES, *, quota_gpus: int | None = None) -> None:
        super().__init__(shapes, quota_gpus=quota_gpus)
        self.operations: dict[str, dict[str, Any]] = {}
        self.leftovers: dict[str, dict[str, Any]] = {}
        """What failed launches left behind."""
        self.orders: list[dict[str, Any]] = []
        self.keeps_leftovers = False
        self.operation_answers_503 = False
        self.failure = ""
        """Why launches fail that were accepted; empty: for want of stock or quota, as it is."""
        self.skew_s = 0.0

    def authorised(self, request: Request) -> bool:
        """Signed with the secret, for this request, within minutes."""
        stamp = request.headers.get("x-crusoe-timestamp", "")
        try:
            signature = signed(API_KEY, request.method, httpx.URL(str(request.url)), stamp)
            age_s = self.clock.now() + self.skew_s - datetime.fromisoformat(stamp).timestamp()
        except (CredentialsRejected, ValueError):
            return False
        wanted = f"Bearer 1.0:{ACCESS_KEY_ID}:{signature}"
        return request.headers.get("authorization") == wanted and abs(age_s) < SKEW_S

    def routes(self) -> Sequence[BaseRoute]:
        """The routes that the adapter uses."""
        return [
            Route("/v1/capacities", self.capacities),
            Route("/v1/users/ssh-keys", self.keys),
            Route(f"{_BASE}/quotas", self.quotas),
            Route(f"{_BASE}/compute/vms/types", self.types),
            Route(_VMS, self.listed, methods=["GET"]),
            Route(_VMS, self.launched, methods=["POST"]),
            Route(f"{_VMS}/operations/{{operation}}", self.operation),
            Route(f"{_VMS}/{{machine}}", self.deleted, methods=["DELETE"]),
        ]

    def refusal(self, refused: Refused) -> Response:
        """`{"code", "message"}`, where the code is the status once more."""
        # What is not there, nobody may see: Crusoe documents 403 for it.
        status = (
            403 if refused.code == "no_such_instance" else 400 if refused.code == "no_such_type" else refused.status
        )
        return answer({"code": str(status), "message": _REFUSALS.get(status, "internal_error")}, status)

    async def keys(self, _request: Request) -> Response:
        """One SSH key."""
        prints = {"md5": "ab:cd", "sha256": "SHA256:ab"}
        return answer(
            {
                "items": [
                    {
                        "id": "0b880f48",
                        "name": "k1",
                        "public_key": "ssh-ed25519 AAAA",
                        "created_at": "2026-01-24T20:13:35Z",
                        "fingerprints": prints,
                    }
                ]
            }
        )

    async def quotas(self, _request: Request) -> Response:
        """What the project may have."""
        self.cloud.offers()
        return answer({"quotas": [{"programmatic_name": "a40", "max": 10, "used": 4, "available": 6}]})

    async def types(self, _request: Request) -> Response:
        """Every type, without prices; one has no GPU."""
        self.cloud.offers()
        kinds = [_type(shape) for shape in self.cloud.settings.shapes]
        return answer({"items": [*kinds, _type(Shape("c1a.2x", WEST, None, 0, 0.0, 2, 8.0, 0.0, None, 1))]})

    async def capacities(self, _request: Request) -> Response:
        """How many of each type are left in each location, zeroes too."""
        self.cloud.offers()
        rows = [
            {"type": shape.instance_type, "location": shape.region, "quantity": self.available(shape)}
            for shape in self.cloud.settings.shapes
        ]
        return answer({"items": [*rows, {"type": "c1a.2x", "location": WEST, "quantity": 9}]})

    async def launched(self, request: Request) -> Response:
        """Accept an order; what becomes of it is the operation's business."""
        order = await request.json()
        self.orders.append(order)
        shape = self.shape(order["type"], order["location"])
        try:
            row = self.launch(shape, {"name": order["name"]})
        except Refused as refused:
            if refused.code not in ("no_capacity", "quota_exceeded"):
                raise
            return answer({"operation": self._failed(order, refused.code)})
        return answer({"operation": self._started(row["id"])})

    async def operation(self, request: Request) -> Response:
        """Where an operation stands."""
        if self.operation_answers_503:
            raise Refused(503, "unavailable", "try later")
        operation = self.operations[request.path_params["operation"]]
        if "result" in operation:
            return answer(operation | {"state": "FAILED"})
        state = self.cloud.instance(operation["metadata"]["id"])["state"]
        return answer(operation | {"state": "IN_PROGRESS" if state == "provisioning" else "SUCCEEDED"})

    async def listed(self, request: Request) -> Response:
        """One page; the token of the next is empty at the end."""
        rows = [self._machine(row) for row in self.rows() if row["state"] != "terminated"]
        rows += list(self.leftovers.values())
        at, size = int(request.query_params.get("next_token", "0").rstrip("=")), self.cloud.settings.page_limit
        token = f"{at + size}==" if at + size < len(rows) else ""
        return answer({"items": rows[at : at + size], "next_page_token": token})

    async def deleted(self, request: Request) -> Response:
        """End one."""
        machine = request.path_params["machine"]
        if self.keeps_leftovers:
            raise Refused(500, "internal_error", "try later")
        if self.leftovers.pop(machine, None) is None:
            if self.cloud.instance(machine)["state"] == "terminated":
                raise Refused(404, "no_such_instance", "gone")
            self.cloud.terminate(machine)
        return answer({"operation": self._started(machine)})

    def _started(self, machine: str) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operation_id": self.fresh_token(), "state": "IN_PROGRESS", "metadata": {"id": machine},
            "started_at": _told(self.clock.now()), "completed_at": "",
        }  # fmt: skip
        self.operations[operation["operation_id"]] = operation
        return operation

    def _failed(self, order: dict[str, Any], code: str) -> dict[str, Any]:
        """An operation under way that will turn out to have failed, and the machine that it leaves."""
        machine = f"left-{len(self.leftovers)}-{self.fresh_token()}"
        operation = self._started(machine)
        reason = self.failure or {"no_capacity": "out_of_stock"}.get(code, code)
        operation["result"] = {"code": reason, "message": f"the machine was not made: {reason}"}
        row = {"id": machine, "tags": {"name": order["name"]}, "region": order["location"]}
        self.leftovers[machine] = _vm(row, order["type"], "STATE_UNSPECIFIED", self.clock.now())
        return {key: value for key, value in operation.items() if key != "result"}

    def _machine(self, row: dict[str, Any]) -> dict[str, Any]:
        return _vm(row, row["instance_type"], _STATES.get(row["state"], row["state"]), row["created_at"])


def _vm(row: dict[str, Any], product: str, state: str, created_at: float) -> dict[str, Any]:
    return {
        "id": row["id"], "project_id": PROJECT, "type": product, "state": state, "created_at": _told(created_at),
        "updated_at": _told(created_at), "name": row["tags"]["name"], "location": row["region"], "disks": [],
        "network_interfaces": [], "host_channel_adapters": [], "maintenance_policy": "unspecified",
        "billing_type": "On-demand",
    }  # fmt: skip


def _type(shape: Shape) -> dict[str, Any]:
    return {
        "product_name": shape.instance_type, "description": shape.instance_type, "cpu_cores": shape.cpus,
        "cpu_type": "intel", "memory_gb": int(shape.memory_gib), "memory_type": "RAM", "disk_gb": 0,
        "disk_type": "none", "num_gpu": shape.gpu_count, "gpu_type": _GPU_TYPES.get(shape.gpu_model or "", ""),
    }  # fmt: skip


def _told(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
