"""Lambda Cloud: no dedupe of launches, no Retry-After, types without capacity stay in the list with no region."""

from collections.abc import Sequence
from typing import Any

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import STARTUP_LIMIT_BYTES, Refused
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.emulators.emulator import Emulator, answer

SHAPES = (
    Shape("gpu_1x_h100_pcie", "us-west-3", "H100-PCIe", 1, 80.0, 26, 200.0, 2.49, None, 3),
    Shape("gpu_8x_h100_sxm5", "us-west-3", "H100-SXM", 8, 80.0, 208, 1800.0, 23.92, None, 2),
    Shape("gpu_1x_a10", "us-east-1", "A10", 1, 24.0, 30, 200.0, 0.75, None, 8),
)
_DESCRIPTIONS = {"H100-PCIe": "H100 (80 GB PCIe)", "H100-SXM": "H100 (80 GB SXM5)", "A10": "A10 (24 GB PCIe)"}
_WORDS = {"provisioning": "booting", "running": "active", "stopping": "terminating", "failed": "unhealthy"}
_ACTIONS = ("migrate", "rebuild", "restart", "cold_reboot", "terminate")
_CODES = {
    "unauthorized": (401, "global/invalid-api-key"),
    "no_capacity": (400, "instance-operations/launch/insufficient-capacity"),
    "quota_exceeded": (400, "global/quota-exceeded"),
    "no_such_instance": (404, "global/object-does-not-exist"),
    "too_many_requests": (429, "global/too-many-requests"),
}


class LambdaEmulator(Emulator):
    """Facade over a `Cloud` with Lambda's routes."""

    spec = "lambda.json"

    def routes(self) -> Sequence[BaseRoute]:
        """The routes that the adapter uses."""
        return [
            Route("/api/v1/instance-types", self.types),
            Route("/api/v1/instances", self.instances),
            Route("/api/v1/ssh-keys", self.keys),
            Route("/api/v1/instance-operations/launch", self.launched, methods=["POST"]),
            Route("/api/v1/instance-operations/terminate", self.terminated, methods=["POST"]),
        ]

    def refusal(self, refused: Refused) -> Response:
        """`{"error": {"code", "message", "suggestion"}}`; a code that is not documented for the rest."""
        status, code = _CODES.get(refused.code, (refused.status, "global/internal-error"))
        return JSONResponse({"error": {"code": code, "message": str(refused), "suggestion": ""}}, status)

    async def types(self, _request: Request) -> Response:
        """Every type, with the regions that have some now."""
        self.cloud.offers()  # a cloud that is down says so
        return answer({"data": {shape.instance_type: self._type(shape) for shape in self.cloud.settings.shapes}})

    async def keys(self, _request: Request) -> Response:
        """One SSH key."""
        self.cloud.offers()
        return answer(
            {"data": [{"id": "0920582c7ff041399e34823a0be62548", "name": "k1", "public_key": "ssh-ed25519 A"}]}
        )

    async def instances(self, _request: Request) -> Response:
        """Every machine in one piece; terminated ones leave the list."""
        return answer({"data": [self._instance(row) for row in self.rows() if row["state"] != "terminated"]})

    async def launched(self, request: Request) -> Response:
        """Sell one."""
        order = await request.json()
        if len(order.get("user_data", "").encode()) > 1_000_000:
            raise Refused(400, "global/invalid-parameters", "user_data is too long")
        marks = {tag["key"]: tag["value"] for tag in order["tags"]} | {"name": order["name"]}
        # The cloud behind this facade has a smaller limit of its own; what is beyond it no test needs to run.
        script = order["user_data"] if len(order["user_data"].encode()) <= STARTUP_LIMIT_BYTES else ""
        row = self.launch(self.shape(order["instance_type_name"], order["region_name"]), marks, user_data=script)
        return answer({"data": {"instance_ids": [row["id"]]}})

    async def terminated(self, request: Request) -> Response:
        """End some."""
        ended = [self.cloud.terminate(instance_id)["id"] for instance_id in (await request.json())["instance_ids"]]
        return answer(
            {"data": {"terminated_instances": [r for r in map(self._instance, self.rows()) if r["id"] in ended]}}
        )

    def _type(self, shape: Shape) -> dict[str, Any]:
        regions = [_region(shape.region)] if self.available(shape) else []
        return {"instance_type": _type(shape), "regions_with_capacity_available": regions}

    def _instance(self, row: dict[str, Any]) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in row["tags"].items() if key != "name"]
        return {
            "id": row["id"], "name": row["tags"]["name"], "status": _WORDS.get(row["state"], row["state"]),
            "ssh_key_names": ["k1"], "file_system_names": [], "region": _region(row["region"]),
            "instance_type": _type(self.shape(row["instance_type"], row["region"])), "tags": tags,
            "actions": {name: {"available": True} for name in _ACTIONS},
        }  # fmt: skip


def _region(name: str) -> dict[str, str]:
    return {"name": name, "description": "somewhere"}


def _type(shape: Shape) -> dict[str, Any]:
    description = _DESCRIPTIONS[shape.gpu_model or ""]
    specs = {
        "vcpus": shape.cpus, "memory_gib": int(shape.memory_gib), "storage_gib": 512, "gpus": shape.gpu_count
    }  # fmt: skip
    return {
        "name": shape.instance_type, "description": f"{shape.gpu_count}x {description}",
        "gpu_description": description, "price_cents_per_hour": round(shape.price_usd_per_hour * 100), "specs": specs,
    }  # fmt: skip
