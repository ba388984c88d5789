"""Hyperstack: a machine that is being created cannot be deleted yet, stock and quota are refused in words only, counts
and prices are texts ("8", "100+", "1.9", "0E-9"), spot is a flavor and a GPU name of its own, a second machine of a
name is a conflict, pages go by number, and the header of the key is `api_key`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tests.emulators.emulator import API_KEY, Emulator, answer, id_of, number_of

SHAPES = (
    Shape("n3-H100x1", "CANADA-1", "H100-PCIe", 1, 80.0, 28, 180.0, 1.90, 1.52, 8),
    Shape("n3-H100x8", "CANADA-1", "H100-PCIe", 8, 80.0, 252, 1440.0, 15.20, None, 2),
    Shape("n3-H100-SXM5x8", "US-1", "H100-SXM", 8, 80.0, 192, 1800.0, 19.20, None, 2),
    Shape("n3-L40x1", "CANADA-1", "L40", 1, 48.0, 28, 58.0, 1.00, None, 8),
    Shape("n1-cpu-small", "NORWAY-1", None, 0, 0.0, 4, 4.0, 0.08, None, 8),
)
_GPUS = {"H100-PCIe": "H100-80G-PCIe", "H100-SXM": "H100-80G-SXM5", "L40": "L40", None: ""}
_BOOK = {
    "H100-80G-PCIe": "1.9", "H100-80G-PCIe-spot": "1.52", "H100-80G-SXM5": "2.4", "L40": "1", "vCPU": "0E-9",
    "vCPU (cpu-only-flavors)": "0.01", "RAM (cpu-only-flavors)": "0.009",
    "hypervisor-local-storage (cpu-only-flavors)": "0.00004", "PublicIP": "0.0067",
}  # fmt: skip
_STATUS = {"provisioning": "CREATING", "running": "ACTIVE", "stopping": "DELETING", "failed": "ERROR"}
_REASONS = {
    "no_capacity": (400, "bad_request", "There is not enough stock for this flavor."),
    "quota_exceeded": (400, "bad_request", "The quota of GPUs of your organisation is reached."),
    "no_such_type": (404, "not_found", "The flavor does not exist."),
    "no_such_instance": (404, "not_found", "The virtual machine does not exist."),
    "unauthorized": (401, "unauthorized", "Unauthorized"),
    "name_taken": (409, "conflict", "A virtual machine of that name already exists."),
    "still_creating": (
        400,
        "bad_request",
        "VM is currently being created and cannot be deleted yet. Please wait until the creation process is finished.",
    ),
}
SPOT = "-spot"


class HyperstackEmulator(Emulator):
    """Facade over a `Cloud` with Hyperstack's routes."""

    spec = "hyperstack.yaml"
    spec_prefix = "/v1"

    def __init__(self, shapes: Sequence[Shape] = SHAPES, *, quota_gpus: int | None = None) -> None:
        super().__init__(shapes, quota_gpus=quota_gpus)
        self.orders: list[dict[str, Any]] = []
        self.leaves_after_page: int | None = None
        """The page after which the oldest machine leaves the list."""
        self.prices_as_texts = False
        """As the vendor really answers; its description has numbers, so only the tests of that want it."""

    def authorised(self, request: Request) -> bool:
        """A header of its own."""
        return request.headers.get("api_key") == API_KEY

    def routes(self) -> Sequence[BaseRoute]:
        """The routes that the adapter uses."""
        return [
            Route("/v1/core/environments", self.environments),
            Route("/v1/core/flavors", self.flavors),
            Route("/v1/core/stocks", self.stocks),
            Route("/v1/core/keypairs", self.keys),
            Route("/v1/pricebook", self.pricebook),
            Route("/v1/core/virtual-machines", self.listed, methods=["GET"]),
            Route("/v1/core/virtual-machines", self.launched, methods=["POST"]),
            Route("/v1/core/virtual-machines/{machine:int}", self.deleted, methods=["DELETE"]),
        ]

    def refusal(self, refused: Refused) -> Response:
        """`{"status", "message", "error_reason"}`."""
        status, reason, message = _REASONS.get(refused.code, (refused.status, "server_error", str(refused)))
        return answer({"status": False, "message": message, "error_reason": reason}, status)

    async def environments(self, _request: Request) -> Response:
        """One per region."""
        self.cloud.offers()
        rows = [
            {"id": 1, "name": "default-CANADA-1", "region": "CANADA-1"},
            {"id": 2, "name": "default-US-1", "region": "US-1"},
        ]
        return answer({"status": True, "message": "", "environments": rows})

    async def keys(self, _request: Request) -> Response:
        """One each of two environments; the third has none."""
        rows = [
            {"id": 1, "name": "k-no", "environment": {"id": 3, "name": "default-NORWAY-1"}},
            {"id": 2, "name": "k-ca", "environment": {"id": 1, "name": "default-CANADA-1"}},
        ]
        return answer({"status": True, "message": "", "keypairs": rows})

    async def pricebook(self, _request: Request) -> Response:
        """Prices per GPU-hour."""
        self.cloud.offers()
        shown = str if self.prices_as_texts else float
        return answer([{"id": n, "name": name, "value": shown(text)} for n, (name, text) in enumerate(_BOOK.items())])

    async def flavors(self, _request: Request) -> Response:
        """Every flavor by GPU and region; a spot flavor is one of its own."""
        self.cloud.offers()
        groups = [self._group(shape, spot) for shape, spot in self._sold()]
        return answer({"status": True, "message": "", "data": groups})

    async def stocks(self, _request: Request) -> Response:
        """How many machines of each size are left; nothing of those without a GPU."""
        regions: dict[str, dict[str, Any]] = {}
        for shape, spot in self._sold():
            if shape.gpu_count:
                model = _gpu(shape, spot)
                row = regions.setdefault(shape.region, {}).setdefault(
                    model, {"model": model, "available": "100+", "planned_7_days": "0", "configurations": {}}
                )
                row["configurations"][f"{shape.gpu_count}x"] = self.available(shape)
        stocks = [{"region": r, "stock-type": "GPU", "models": list(models.values())} for r, models in regions.items()]
        return answer({"stocks": stocks})

    async def launched(self, request: Request) -> Response:
        """Sell one."""
        order = await request.json()
        names = [row["tags"]["name"] for row in self.rows() if row["state"] != "terminated"]
        if order["name"] in names:
            raise Refused(409, "name_taken", "the name is taken")
        region, flavor = order["environment_name"].removeprefix("default-"), order["flavor_name"]
        shape = self.shape(flavor.removesuffix(SPOT), region)
        marks = {"name": order["name"], "labels": "\n".join(order["labels"])}
        row = self.launch(shape, marks, spot=flavor.endswith(SPOT))
        self.orders.append(order)
        return answer({"status": True, "message": "created", "instances": [self._machine(row)]})

    async def listed(self, request: Request) -> Response:
        """One page by number."""
        rows = [row for row in self.rows() if row["state"] != "terminated"]
        page, size = int(request.query_params["page"]), self.cloud.settings.page_limit
        shown = [self._machine(row) for row in rows[(page - 1) * size : page * size]]
        if page == self.leaves_after_page:
            self.cloud.terminate(rows[0]["id"])
            self.clock.advance(self.cloud.settings.stop_s)
        return answer({"status": True, "count": len(rows), "page": page, "page_size": size, "instances": shown})

    async def deleted(self, request: Request) -> Response:
        """End one, unless it is being created."""
        machine = id_of(request.path_params["machine"])
        state = self.cloud.instance(machine)["state"]
        if state == "provisioning":
            raise Refused(400, "still_creating", "not yet")
        if state == "terminated":
            raise Refused(404, "no_such_instance", "gone")
        self.cloud.terminate(machine)
        return answer({"status": True, "message": "deleting"})

    def _sold(self) -> list[tuple[Shape, bool]]:
        shapes = self.cloud.settings.shapes
        return [(s, spot) for s in shapes for spot in (False, True) if not spot or s.spot_price_usd_per_hour]

    def _group(self, shape: Shape, spot: bool) -> dict[str, Any]:
        flavor = _flavor(shape, spot) | {
            "id": 1, "region_name": shape.region, "stock_available": self.available(shape, spot=spot) > 0
        }  # fmt: skip
        return {"gpu": _gpu(shape, spot), "region_name": shape.region, "flavors": [flavor]}

    def _machine(self, row: dict[str, Any]) -> dict[str, Any]:
        shape = self.shape(row["instance_type"], row["region"])
        return {
            "id": number_of(row["id"]), "name": row["tags"]["name"],
            "status": _STATUS.get(row["state"], row["state"]), "labels": row["tags"]["labels"].split("\n"),
            "environment": {"id": 1, "name": f"default-{row['region']}", "region": row["region"]},
            "flavor": _flavor(shape, row["spot"]),
            "created_at": datetime.fromtimestamp(row["created_at"], UTC).isoformat(),
        }  # fmt: skip


def _gpu(shape: Shape, spot: bool) -> str:
    return _GPUS[shape.gpu_model] + (SPOT if spot else "")


def _flavor(shape: Shape, spot: bool) -> dict[str, Any]:
    return {
        "name": shape.instance_type + (SPOT if spot else ""), "gpu": _gpu(shape, spot), "gpu_count": shape.gpu_count,
        "cpu": shape.cpus, "ram": shape.memory_gib, "disk": 100, "ephemeral": 750, "labels": [], "features": {},
    }  # fmt: skip
