"""RunPod, version 2, and its traps: no dedupe of launches and no unique names; prices that move every few minutes; 400
for a broken rule and for no capacity alike; cluster members left out of lists unless asked for, and never deletable.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.emulators.emulator import Emulator, answer

H100, RTX4090 = "NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"
SHAPES = (
    Shape(f"1x {H100}", "US-KS-2", "H100-SXM", 1, 80.0, 20, 125.0, 2.69, None, 3),
    Shape(f"8x {H100}", "US-KS-2", "H100-SXM", 8, 80.0, 160, 1000.0, 21.52, None, 2),
    Shape(f"1x {RTX4090}", "EU-RO-1", "RTX4090", 1, 24.0, 8, 40.0, 0.69, None, 8),
)
_PRICES = {H100: (2.69, 2.49), RTX4090: (0.69, 0.34)}
"""USD per GPU and hour: secure, community."""

_PRICE_STEP_S = 180.0
_LARGEST_VARIABLE = 131_072
_WORDS = {"provisioning": "PROVISIONING", "running": "RUNNING", "failed": "ERROR"}
_NO_ROOM = (
    "There are no longer any instances available with the requested specifications. Please refresh and try again."
)
_TITLES = {400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 404: "Not Found", 409: "Conflict"}


class RunPodEmulator(Emulator):
    """Facade over a `Cloud` with RunPod's routes. `orders` are the launches as they were asked for."""

    spec = "runpod_v2.json"

    def __init__(self, shapes: Sequence[Shape] = SHAPES, *, quota_gpus: int | None = None) -> None:
        super().__init__(shapes, quota_gpus=quota_gpus)
        self.orders: list[dict[str, Any]] = []
        self.cluster_pods: list[dict[str, Any]] = []

    def routes(self) -> Sequence[BaseRoute]:
        """The routes that the adapter uses."""
        return [
            Route("/v2/catalog/gpus", self.gpus),
            Route("/v2/pods", self.pods, methods=["GET"]),
            Route("/v2/pods", self.created, methods=["POST"]),
            Route("/v2/pods/{id}", self.deleted, methods=["DELETE"]),
        ]

    def refusal(self, refused: Refused) -> Response:
        """`application/problem+json`. No capacity is a 400 with a text; quota is the balance that is used up."""
        status = {"no_capacity": 400, "quota_exceeded": 402}.get(refused.code, refused.status)
        detail = _NO_ROOM if refused.code == "no_capacity" else str(refused)
        headers = {"Retry-After": str(int(refused.retry_after_s))} if refused.retry_after_s else None
        body = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
        return JSONResponse(body, status, headers, media_type="application/problem+json")

    async def gpus(self, request: Request) -> Response:
        """Every GPU type, with the data centres that have machines of that size free."""
        self.cloud.offers()  # a cloud that is down says so
        asked = request.query_params
        if (asked.get("include") == "AVAILABILITY") != ("product" in asked):
            raise Refused(400, "bad_request", "product is required with include=AVAILABILITY")
        secure = asked.get("cloud", "SECURE") == "SECURE"
        return answer({"gpus": [self._gpu(gpu, int(asked.get("count", 1)), secure) for gpu in _PRICES]})

    async def pods(self, request: Request) -> Response:
        """Every pod in one piece; deleted ones are gone at once."""
        listed = [self._pod(row) for row in self.rows() if row["state"] not in ("stopping", "terminated")]
        with_clusters = request.query_params.get("includeClusterPods") == "true"
        return answer({"pods": listed + (self.cluster_pods if with_clusters else [])})

    async def created(self, request: Request) -> Response:
        """Sell one pod."""
        order = await request.json()
        if any(len(name) + len(value) + 2 > _LARGEST_VARIABLE for name, value in order.get("env", {}).items()):
            raise Refused(422, "unprocessable", "an environment variable is too long")
        gpu = order["gpu"]
        if gpu["id"] not in _PRICES:
            raise Refused(400, "bad_request", f"invalid gpu id {gpu['id']}")
        price = self._price(gpu["id"], order["cloud"] == "SECURE") * gpu["count"]
        marks = {"name": order["name"], "cost": str(round(price, 4)), "order": json.dumps(order)}
        try:
            shape = self.shape(f"{gpu['count']}x {gpu['id']}", order["dataCenterIds"][0])
        except Refused as not_there:
            raise Refused(400, "no_capacity", _NO_ROOM) from not_there
        row = self.launch(shape, marks)
        self.orders.append(order)
        return answer(self._pod(row), 201)

    async def deleted(self, request: Request) -> Response:
        """End one; a second time it is not there."""
        pod_id = request.path_params["id"]
        self.cloud.offers()
        if any(pod["id"] == pod_id for pod in self.cluster_pods):
            raise Refused(409, "conflict", "pod belongs to a cluster; delete the cluster instead")
        if self.cloud.instance(pod_id)["state"] in ("stopping", "terminated"):
            raise Refused(404, "no_such_instance", "pod not found")
        self.cloud.terminate(pod_id)
        return Response(status_code=204)

    def _price(self, gpu: str, secure: bool) -> float:
        """Moves up and down by a few cents every few minutes."""
        step = int(self.clock.now() / _PRICE_STEP_S) % 3
        return round(_PRICES[gpu][0 if secure else 1] + 0.05 * step, 2)

    def _gpu(self, gpu: str, count: int, secure: bool) -> dict[str, Any]:
        shapes = [shape for shape in self.cloud.settings.shapes if shape.instance_type == f"{count}x {gpu}"]
        places = [
            {"id": shape.region, "name": shape.region, "availability": "LOW"}
            for shape in shapes
            if self.available(shape) and (secure or gpu == RTX4090)
        ]
        memory = next(s.gpu_memory_gib for s in self.cloud.settings.shapes if s.instance_type.endswith(gpu))
        row = {
            "id": gpu, "name": gpu.removeprefix("NVIDIA "), "pool": None, "manufacturer": "NVIDIA",
            "memory": int(memory), "secure": True, "community": gpu == RTX4090,
            "price": {"secure": self._price(gpu, True), "community": self._price(gpu, False)},
            "maxCount": {"secure": 8, "community": 4}, "availability": "LOW" if places else "NONE",
        }  # fmt: skip
        return row | ({"dataCenters": places} if places else {})

    def _pod(self, row: dict[str, Any]) -> dict[str, Any]:
        marks = row["tags"]
        order = json.loads(marks["order"])
        return {
            "id": row["id"], "name": marks["name"], "status": _WORDS.get(row["state"], row["state"]),
            "actions": ["stop", "terminate"], "image": order["image"], "args": order["args"], "disk": order["disk"],
            "mounts": {}, "ports": [], "env": order["env"], "registry": None, "cloud": order["cloud"],
            "dataCenterId": row["region"], "cudaVersion": "12.8", "ssh": {"proxy": None, "direct": None},
            "template": None, "cost": float(marks["cost"]), "locked": False, "runtime": None,
            "createdAt": datetime.fromtimestamp(row["created_at"], UTC).isoformat().replace("+00:00", "Z"),
            "startedAt": None, "globalNetworking": {"enabled": False}, "gpu": order["gpu"],
        }  # fmt: skip
