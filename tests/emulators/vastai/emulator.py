"""Vast.ai: each ask is one machine that vanishes once it is sold, and a bid that is too low is answered with an error
that leaves a stopped machine, billed for its disk, behind. A wrong key at the search is a 404; a 429 is plain text
without Retry-After; `onstart` is cut in silence at 4,048 characters; pages of the listing are short.
"""

import json
from collections.abc import Sequence
from typing import Any

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from tests.emulators.emulator import Emulator, answer, id_of, number_of

ONSTART_CHARACTERS = 4_048
FIRST_ASK = 12_345_001
FIRST_MACHINE = 88_001
DISK_USD_PER_HOUR = 0.02

SHAPES = (
    *(Shape("1x-RTX_4090", "NO", "RTX4090", 1, 24.0, 16, 64.0, 0.40 + n / 100, 0.20, 1, zone=str(n)) for n in range(7)),
    Shape("8x-H100_SXM", "FR", "H100-SXM", 8, 80.0, 192, 1024.0, 18.72, 11.22, 1, zone="7"),
    Shape("2x-A100_SXM4", "CZ", "A100-80GB-SXM", 2, 80.0, 32, 128.0, 1.92, None, 1, zone="8"),
)
"""Their zones are their places in this list."""

_STATUS = {"provisioning": "loading", "failed": "exited"}
_REFUSALS = {
    "no_capacity": (410, "no_such_ask", "error 410/3907: no_such_ask Instance type is no longer available."),
    "no_such_type": (404, "invalid_args", "error 404/3603: no_such_ask Instance type is not available."),
    "no_such_instance": (404, "no_such_instance", "Instance not found"),
    "quota_exceeded": (400, "insufficient_credit", "Your account lacks credit; see the billing page."),
}


class VastEmulator(Emulator):
    """Facade over a `Cloud` with Vast.ai's routes; each of its shapes is one ask."""

    spec = "vastai.yaml"
    refuses_with = 400
    """The status with which a bid that is too low is refused; 200 was seen too, with success false."""

    def __init__(self, shapes: Sequence[Shape] = SHAPES) -> None:
        super().__init__(shapes)
        self.asked = ""
        self.onstart: dict[int, str] = {}
        self.outbid: set[int] = set()
        self.orders: list[dict[str, Any]] = []
        self.keeps_leftovers = False

    def described(self, path: str) -> str:
        """Vast's paths end in a slash; its description leaves it out."""
        return path.rstrip("/")

    def authorised(self, request: Request) -> bool:
        """Bearer; what was asked for decides how a refusal looks."""
        self.asked = request.url.path
        return super().authorised(request)

    def unauthorised(self) -> Response:
        """The search answers 404, everything else 401."""
        body = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
        return answer(body, 404 if self.asked.startswith("/api/v0/bundles") else 401)

    def routes(self) -> Sequence[BaseRoute]:
        """The routes that the adapter uses."""
        return [
            Route("/api/v0/bundles/", self.searched, methods=["POST"]),
            Route("/api/v0/asks/{ask_id:int}/", self.launched, methods=["PUT"]),
            Route("/api/v0/instances/{machine:int}/", self.destroyed, methods=["DELETE"]),
            Route("/api/v1/instances/", self.listed),
            Route("/api/v0/users/current/", self.user),
        ]

    def refusal(self, refused: Refused) -> Response:
        """`{"success", "error", "msg"}`, but plain text for a 429."""
        if refused.status == 429:
            return PlainTextResponse("API requests too frequent: endpoint threshold=4.5", 429)
        status, error, message = _REFUSALS.get(refused.code, (refused.status, "invalid_args", str(refused)))
        return answer({"success": False, "error": error, "msg": message}, status)

    async def user(self, _request: Request) -> Response:
        """Who owns the key."""
        self.cloud.offers()
        return answer({"id": 7, "email": "someone@example.org", "balance": 42.5})

    async def searched(self, request: Request) -> Response:
        """What can be rented, by the filters that the adapter uses; a low limit cuts the answer short in silence."""
        query = await request.json()
        after, limit = query.get("id", {}).get("gt", 0), query.get("limit", 64)
        asks = [self._ask(place, shape) for place, shape in enumerate(self.cloud.settings.shapes)]
        found = [ask for ask in asks if ask["rentable"] and ask["id"] > after]
        return answer({"offers": found[:limit]})

    async def launched(self, request: Request) -> Response:
        """Sell one; or refuse, and leave a stopped machine behind."""
        order, place = await request.json(), request.path_params["ask_id"] - FIRST_ASK
        if not 0 <= place < len(self.cloud.settings.shapes):
            raise Refused(404, "no_such_type", "no such ask")
        self.orders.append(order)
        shape, bid = self.cloud.settings.shapes[place], order.get("price")
        row = self.launch(shape, {"label": order["label"]}, spot=bid is not None)
        machine = number_of(row["id"])
        self.onstart[machine] = order.get("onstart", "")[:ONSTART_CHARACTERS]
        if bid is not None and bid < (shape.spot_price_usd_per_hour or 0.0):
            self.outbid.add(machine)
            body = {"success": False, "error": "invalid_price", "msg": "bid is too low", "new_contract": machine}
            return answer(body, self.refuses_with)
        return answer({"success": True, "new_contract": machine})

    async def destroyed(self, request: Request) -> Response:
        """End one, at once."""
        if self.keeps_leftovers:
            raise Refused(503, "unavailable", "try later")
        row = self.cloud.terminate(id_of(request.path_params["machine"]))
        if row["state"] == "terminated":
            raise Refused(404, "no_such_instance", "it is gone")
        return answer({"success": True, "msg": "Instance destroyed successfully"})

    async def listed(self, request: Request) -> Response:
        """One page by id."""
        rows = [r for r in self.rows() if r["state"] not in ("stopping", "terminated")]
        after = json.loads(request.query_params.get("after_token", "0"))
        found = [r for r in rows if number_of(r["id"]) > after]
        page = found[: min(self.cloud.settings.page_limit, int(request.query_params.get("limit", 25)))]
        token = json.dumps(number_of(page[-1]["id"])) if len(found) > len(page) else None
        shown = [self._machine(row) for row in page]
        return answer({"success": True, "total_instances": len(rows), "next_token": token, "instances": shown})

    def _ask(self, place: int, shape: Shape) -> dict[str, Any]:
        spot = shape.spot_price_usd_per_hour
        return _hardware(shape) | {
            "id": FIRST_ASK + place, "ask_contract_id": FIRST_ASK + place, "verification": "verified",
            "dph_base": shape.price_usd_per_hour - DISK_USD_PER_HOUR, "dph_total": shape.price_usd_per_hour,
            "min_bid": None if spot is None else spot, "is_bid": False, "rentable": self.available(shape) > 0,
            "reliability2": 0.997,
        }  # fmt: skip

    def _machine(self, row: dict[str, Any]) -> dict[str, Any]:
        shape, number = self.cloud.settings.shapes[int(row["zone"])], number_of(row["id"])
        intended = "stopped" if number in self.outbid else "running"
        status = "stopped" if number in self.outbid else _STATUS.get(row["state"], row["state"])
        return _hardware(shape) | {
            "id": number, "label": row["tags"]["label"], "actual_status": status, "intended_status": intended,
            "cur_state": intended, "next_state": intended, "dph_total": row["price_usd_per_hour"],
            "is_bid": row["spot"], "start_date": row["created_at"], "onstart": self.onstart.get(number, ""),
        }  # fmt: skip


def _hardware(shape: Shape) -> dict[str, Any]:
    # RAM is the host's, and the host has twice the cores of this offer.
    return {
        "machine_id": FIRST_MACHINE + int(shape.zone or 0), "gpu_name": shape.instance_type[3:].replace("_", " "),
        "num_gpus": shape.gpu_count, "gpu_ram": int(shape.gpu_memory_gib * 1024), "cpu_cores": shape.cpus * 2,
        "cpu_cores_effective": float(shape.cpus), "cpu_ram": int(shape.memory_gib * 1024 * 2),
        "geolocation": f"Somewhere, {shape.region}",
    }  # fmt: skip
