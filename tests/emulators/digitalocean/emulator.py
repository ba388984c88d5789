"""DigitalOcean and its traps: lists of droplets leave those with GPUs out unless asked for them; 202 accepts a creation
that may fail later; tags come some time after the droplet; 422 for bad input, limits and missing capacity alike; a
droplet that is being built cannot be destroyed; keys can be read ten times a minute; only the limit per minute says how
long to wait.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.emulators.emulator import Emulator, answer

L40S, H100X8, SPOT = "gpu-l40sx1-48gb", "gpu-h100x8-640gb", "gpu-mi355x8-2304gb-spot"
SHAPES = (
    Shape("gpu-h100x1-80gb", "nyc2", "nvidia_h100", 1, 80.0, 20, 240.0, 3.39, None, 3),
    Shape(H100X8, "nyc1", "nvidia_h100", 8, 80.0, 160, 1920.0, 23.92, None, 2),
    Shape(L40S, "tor1", "nvidia_l40s", 1, 48.0, 8, 64.0, 1.57, None, 8),
    Shape(SPOT, "nyc2", "amd_mi355x", 8, 288.0, 192, 2048.0, 23.76, None, 1),
)
_PLAIN = Shape("s-1vcpu-1gb", "nyc1", None, 0, 0.0, 1, 1.0, 0.00744, None, 100)
_CONTRACTED = Shape("gpu-h200x8-1128gb-contracted", "", "nvidia_h200", 8, 141.0, 192, 1920.0, 20.0, None, 0)
_WORDS = {"provisioning": "new", "running": "active", "stopping": "active", "failed": "archive"}
_GONE = ("terminated", "failed")
_TAG = re.compile(r"[a-zA-Z0-9_\-:]{1,255}")
_REFUSALS = {
    "unauthorized": (401, "unauthorized", "Unable to authenticate you."),
    "no_capacity": (422, "unprocessable_entity", "Size is not available in this region."),
    "no_such_type": (422, "unprocessable_entity", "You specified an invalid size for Droplet creation."),
    "quota_exceeded": (
        422, "unprocessable_entity", "creating this/these droplet(s) will exceed your droplet limit"
    ),
    "no_such_instance": (404, "not_found", "The resource you were accessing could not be found."),
}  # fmt: skip


class DigitalOceanEmulator(Emulator):
    """Facade over a `Cloud` with DigitalOcean's routes. `orders` are the launches as they were asked for."""

    spec = "digitalocean.yaml"

    def __init__(self, shapes: Sequence[Shape] = SHAPES, *, quota_gpus: int | None = None) -> None:
        super().__init__(shapes, quota_gpus=quota_gpus)
        self.orders: list[dict[str, Any]] = []
        self.plain_droplets: list[dict[str, Any]] = []
        self.keys = [{"id": 512189, "fingerprint": "3b:16", "public_key": "ssh-ed25519 A", "name": "k1"}]
        self.status = "active"
        self.key_reads: list[float] = []

    def routes(self) -> Sequence[BaseRoute]:
        """The routes that the adapter uses."""
        return [
            Route("/v2/account", self.account),
            Route("/v2/account/keys", self.ssh_keys),
            Route("/v2/sizes", self.sizes),
            Route("/v2/droplets", self.droplets, methods=["GET"]),
            Route("/v2/droplets", self.created, methods=["POST"]),
            Route("/v2/droplets/{id}", self.destroyed, methods=["DELETE"]),
        ]

    def refusal(self, refused: Refused) -> Response:
        """`{"id", "message"}`; a 429 of the minute has Retry-After, one of the hour has only when it resets."""
        default = (refused.status, refused.code, str(refused))
        status, code, message = _REFUSALS.get(refused.code, default)
        headers = {}
        if status == 429:
            headers = {"ratelimit-reset": str(int(self.clock.now()) + 600)}
            if refused.retry_after_s is not None:
                headers["retry-after"] = str(int(refused.retry_after_s))
        return JSONResponse({"id": code, "message": message}, status, headers)

    async def account(self, _request: Request) -> Response:
        """The account."""
        self.cloud.offers()  # a cloud that is down says so
        return answer(
            {
                "account": {
                    "droplet_limit": 25, "floating_ip_limit": 5, "email": "a@example.org", "uuid": "b6fr",
                    "email_verified": True, "status": self.status, "status_message": "pay your bill",
                    "team": {"uuid": "5df3", "name": "research"},
                }
            }
        )  # fmt: skip

    async def ssh_keys(self, _request: Request) -> Response:
        """The keys, ten times a minute."""
        self.cloud.offers()
        now = self.clock.now()
        self.key_reads = [at for at in self.key_reads if at > now - 60] + [now]
        if len(self.key_reads) > 10:
            raise Refused(429, "too_many_requests", "API rate limit exceeded.")
        return answer({"ssh_keys": self.keys, "links": {}, "meta": {"total": len(self.keys)}})

    async def sizes(self, request: Request) -> Response:
        """Every size, those that cannot be had in no region."""
        self.cloud.offers()
        return self._paged(
            request, "sizes", [self._size(s) for s in (_PLAIN, _CONTRACTED, *self.cloud.settings.shapes)]
        )

    async def droplets(self, request: Request) -> Response:
        """The droplets without GPUs, or with `type=gpus` those with."""
        asked = request.query_params
        if "tag_name" in asked and ("type" in asked or "name" in asked):
            raise Refused(422, "unprocessable_entity", "tag_name cannot be combined with type or name")
        rows = [row for row in self.rows() if row["state"] not in _GONE]
        with_gpus = asked.get("type") == "gpus"
        return self._paged(
            request, "droplets", [self._droplet(row) for row in rows] if with_gpus else self.plain_droplets
        )

    async def created(self, request: Request) -> Response:
        """Accept one."""
        order = await request.json()
        if len(order.get("user_data", "").encode()) > 65_536:
            raise Refused(422, "unprocessable_entity", "user_data must be 64KiB or less")
        if not all(_TAG.fullmatch(tag) for tag in order["tags"]):
            raise Refused(422, "unprocessable_entity", "tag names may only hold letters, digits, colons, dashes")
        row = self.launch(
            self.shape(order["size"], order["region"]), {"name": order["name"], "tags": " ".join(order["tags"])}
        )
        self.orders.append(order)
        action = {"id": 7515, "rel": "create", "href": "https://api.digitalocean.com/v2/actions/7515"}
        return answer({"droplet": self._droplet(row), "links": {"actions": [action]}}, 202)

    async def destroyed(self, request: Request) -> Response:
        """Destroy one that is not being built."""
        row_id = f"i-{int(request.path_params['id']):012x}"
        state = self.cloud.instance(row_id)["state"]
        if state == "provisioning":
            raise Refused(422, "unprocessable_entity", "Droplet already has a pending event.")
        if state in _GONE:
            raise Refused(404, "no_such_instance", "gone")
        self.cloud.terminate(row_id)
        return Response(status_code=204, media_type="application/json")

    def _paged(self, request: Request, key: str, items: list[dict[str, Any]]) -> Response:
        """Pages of two whatever is asked for, as if two were the largest: tests have no two hundred droplets."""
        asked = request.query_params
        size = min(int(asked.get("per_page", 20)), self.cloud.settings.page_limit)
        number = int(asked.get("page", 1))
        links = {}
        if number * size < len(items):
            links = {"pages": {"next": f"https://api.digitalocean.com{request.url.path}?page={number + 1}"}}
        page = items[(number - 1) * size : number * size]
        return answer({key: page, "links": links, "meta": {"total": len(items)}})

    def _size(self, shape: Shape) -> dict[str, Any]:
        sold = shape is _PLAIN or (shape is not _CONTRACTED and self.available(shape) > 0)
        row = {
            "slug": shape.instance_type, "memory": int(shape.memory_gib * 1024), "vcpus": shape.cpus, "disk": 720,
            "transfer": 15.0, "price_monthly": shape.price_usd_per_hour * 744, "available": True,
            "price_hourly": shape.price_usd_per_hour, "regions": [shape.region] if sold else [], "description": "GPU",
        }  # fmt: skip
        if shape.gpu_model:
            vram = {"amount": int(shape.gpu_memory_gib * shape.gpu_count), "unit": "gib"}
            row["gpu_info"] = {"count": shape.gpu_count, "model": shape.gpu_model, "vram": vram}
        return row

    def _droplet(self, row: dict[str, Any]) -> dict[str, Any]:
        shape, marks = self.shape(row["instance_type"], row["region"]), row["tags"]
        size = self._size(shape)
        return {
            # The description's "off" is a YAML boolean, so that word is only shown as a `state_word`, unvalidated.
            "id": int(row["id"].removeprefix("i-"), 16), "status": _WORDS.get(row["state"], row["state"]),
            "name": marks["name"], "memory": size["memory"], "vcpus": shape.cpus, "disk": 720, "locked": False,
            "created_at": datetime.fromtimestamp(row["created_at"], UTC).isoformat().replace("+00:00", "Z"),
            "features": [], "backup_ids": [], "next_backup_window": None, "snapshot_ids": [], "volume_ids": [],
            "image": {"id": 1, "name": "base"}, "size": size, "size_slug": shape.instance_type,
            "networks": {"v4": [], "v6": []},
            "region": {"name": "R", "slug": shape.region, "features": [], "available": True, "sizes": []},
            "tags": [] if row["state"] == "provisioning" else marks["tags"].split(),
        }  # fmt: skip
