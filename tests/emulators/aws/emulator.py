"""Amazon EC2: moto's server answers, and in front of it stands what moto does not do.

Launches are deduped by client token and refused when a parameter has changed; a zone runs out of capacity, with a
500 that has created nothing; too many requests are a 503 without Retry-After; listings lag behind launches, and a
machine that they do not show yet is not found when it is to be terminated; pages are short and may be empty with
another behind them; machines take time to boot and to end; signatures are checked. Prices, reservations and quotas,
which moto does not know, are answered here.
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.vendor import Refused
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.emulators.aws import behind, documents
from tests.emulators.emulator import Emulator

ACCESS_KEY_ID = "AKIAEMULATED"
REGION = "us-east-1"
USER_DATA_BYTES = 16_384
PAGE = 2

LAG_MAX_S = 15.0
"""More than any test lets a list lag."""

SHAPES = (
    Shape("g4dn.xlarge", REGION, "T4", 1, 16.0, 4, 16.0, 0.526, 0.2104, 8, zone="us-east-1a"),
    Shape("p5.48xlarge", REGION, "H100-SXM", 8, 80.0, 192, 2048.0, 55.04, 21.5, 2, zone="us-east-1b"),
    Shape("g4dn.xlarge", "us-west-2", "T4", 1, 16.0, 4, 16.0, 0.526, None, 1, zone="us-west-2a"),
)
UNWANTED = ("g6f.large", "g5g.xlarge")
"""Types that are shown beside those: a slice of a GPU, and one for another image."""

_TARGET = "CapacityReservationSpecification.CapacityReservationTarget"
_WORDS = {"provisioning": "pending", "stopping": "shutting-down", "failed": "terminated"}
_CODES = {
    "unavailable": (503, "Unavailable"),
    "too_many_requests": (503, "RequestLimitExceeded"),
    "no_capacity": (500, "InsufficientInstanceCapacity"),
    "quota_exceeded": (400, "VcpuLimitExceeded"),
    "no_such_type": (400, "InvalidParameterValue"),
    "token_mismatch": (400, "IdempotentParameterMismatch"),
}


class AwsEmulator(Emulator):
    """In front of moto. `orders` are the launches as they came; `forbidden` are actions that no policy allows."""

    def __init__(self, shapes: Sequence[Shape] = SHAPES, *, quota_gpus: int | None = None) -> None:
        super().__init__(shapes, quota_gpus=quota_gpus)
        behind.reset()
        self.orders: list[dict[str, str]] = []
        self.reservations: list[dict[str, Any]] = []
        self.forbidden: set[str] = set()
        self.reasons: dict[str, str] = {}
        """Machine to why it ended."""
        self._cloud_ids: dict[str, str] = {}
        self._unlisted_since: dict[str, float] = {}
        self._answers: dict[str, tuple[dict[str, str], Response]] = {}

    def routes(self) -> Sequence[BaseRoute]:
        """Every call of every service is a POST to the root."""
        return [Route("/", self.called, methods=["POST"])]

    def authorised(self, request: Request) -> bool:  # noqa: ARG002 - what is signed is not read yet
        """Signatures cover the body, so they are checked where it is read."""
        return True

    async def called(self, request: Request) -> Response:
        """Any call; the scope of its signature says for which service and region."""
        body = await request.body()
        call = behind.Call(str(request.url), dict(request.headers), body)
        try:
            if not call.is_signed_by(ACCESS_KEY_ID):
                raise Refused(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
            if call.service == "ec2":
                return self._ec2(call)
            self.cloud.offers()  # a cloud that is down says so
            if call.action in self.forbidden:
                raise Refused(400, "AccessDeniedException", f"no policy allows {call.action}")
            return self._json(call) if call.service in {"pricing", "servicequotas"} else call.forwarded()
        except Refused as refused:
            status, code = _CODES.get(refused.code, (refused.status, refused.code))
            if call.service in {"pricing", "servicequotas"}:
                return JSONResponse({"__type": code, "message": str(refused)}, status)
            return Response(documents.error(code, str(refused)), status, media_type="text/xml")

    def _json(self, call: behind.Call) -> Response:
        if call.service == "servicequotas":
            return JSONResponse({"Quotas": documents.QUOTAS})
        asked = {f["Field"]: f["Value"] for f in call.json["Filters"] if f["Type"] == "TERM_MATCH"}
        prices = documents.price_list(self.cloud.settings.shapes, asked)
        start = int(call.json.get("NextToken", 0))
        more = {"NextToken": str(start + PAGE)} if start + PAGE < len(prices) else {}
        return JSONResponse({"FormatVersion": "aws_v1", "PriceList": prices[start : start + PAGE], **more})

    def _ec2(self, call: behind.Call) -> Response:
        own: dict[str, Callable[[behind.Call], Response]] = {
            "RunInstances": self._run,
            "DescribeInstances": self._described_instances,
            "TerminateInstances": self._terminated,
            "DescribeInstanceTypes": self._types,
            "DescribeInstanceTypeOfferings": self._zones,
            "DescribeSpotPriceHistory": self._spot_prices,
            "DescribeCapacityReservations": self._reserved,
        }
        if call.action in self.forbidden:
            raise Refused(403, "UnauthorizedOperation", f"no policy allows {call.action}")
        if call.form.get("DryRun") == "true":
            self.cloud.offers()
            return call.forwarded()
        return own[call.action](call)

    def _run(self, call: behind.Call) -> Response:
        form = call.form
        self.orders.append(form)
        if len(base64.b64decode(form["UserData"])) > USER_DATA_BYTES:
            raise Refused(400, "InvalidParameterValue", "User data is limited to 16384 bytes")
        shape = self._shape_at(form["InstanceType"], form["Placement.AvailabilityZone"])
        self._check_reservation(form.get(f"{_TARGET}.CapacityReservationId"))
        spot = form.get("InstanceMarketOptions.MarketType") == "spot"
        row = self.launch(shape, {}, spot=spot, token=form["ClientToken"])
        if form["ClientToken"] in self._answers:
            asked, answered = self._answers[form["ClientToken"]]
            if asked != form:
                raise Refused(400, "token_mismatch", "Arguments on this idempotent request are inconsistent")
            return answered
        answer = call.forwarded()
        if answer.status_code >= 400:
            self.cloud.end(row["id"])
            return answer
        self._answers[form["ClientToken"]] = (form, answer)
        self._cloud_ids[documents.instance_id(bytes(answer.body))] = row["id"]
        return answer

    def _described_instances(self, call: behind.Call) -> Response:
        rows = {row["id"]: row for row in self.rows()}
        self._forget(call.region, set(rows))
        answer = call.forwarded(MaxResults=str(PAGE))
        hidden = {ours for ours, cloud_id in self._cloud_ids.items() if cloud_id not in rows}
        states = {
            ours: _WORDS.get(rows[cloud_id]["state"], rows[cloud_id]["state"])
            for ours, cloud_id in self._cloud_ids.items()
            if cloud_id in rows
        }
        text = documents.with_states(bytes(answer.body), states, hidden, self.reasons)
        return Response(text, answer.status_code, media_type="text/xml")

    def _forget(self, region: str, listed: set[str]) -> None:
        """Let moto forget what ended so long ago that no list can show it again, however it lags."""
        now, shown = self.clock.now(), listed | set(self.cloud.live())
        ended = {ours for ours, cloud_id in self._cloud_ids.items() if cloud_id not in shown}
        self._unlisted_since = {ours: self._unlisted_since.get(ours, now) for ours in ended}
        if old := {ours for ours, since in self._unlisted_since.items() if now - since > LAG_MAX_S}:
            behind.forget(region, old)

    def _terminated(self, call: behind.Call) -> Response:
        instance_id = call.form["InstanceId.1"]
        listed = {row["id"] for row in self.rows()}
        if not re.fullmatch(r"i-[0-9a-f]{8,17}", instance_id):
            raise Refused(400, "InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
        cloud_id = self._cloud_ids.get(instance_id)
        if cloud_id is not None:
            if cloud_id not in listed:
                raise Refused(400, "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
            self.cloud.terminate(cloud_id)
        return call.forwarded()

    def _types(self, call: behind.Call) -> Response:
        self.cloud.offers()
        names = {shape.instance_type for shape in self.cloud.settings.shapes if shape.region == call.region}
        text = documents.only(behind.cached(call), "instanceType", {*names, *UNWANTED})
        return Response(text, media_type="text/xml")

    def _zones(self, call: behind.Call) -> Response:
        self.cloud.offers()
        zones = {str(shape.zone) for shape in self.cloud.settings.shapes}
        text = documents.only(behind.cached(call), "location", zones)
        sold = {(shape.instance_type, str(shape.zone)) for shape in self.cloud.settings.shapes}
        return Response(documents.only_sold(text, sold), media_type="text/xml")

    def _spot_prices(self, call: behind.Call) -> Response:
        self.cloud.offers()
        wanted = {value for key, value in call.form.items() if key.startswith("InstanceType.")}
        shapes = [s for s in self.cloud.settings.shapes if s.region == call.region and s.instance_type in wanted]
        items = documents.spot_items([s for s in shapes if s.spot_price_usd_per_hour is not None], self.clock.now())
        start = int(call.form.get("NextToken", 0))
        more = str(start + PAGE) if start + PAGE < len(items) else ""
        text = documents.listing("DescribeSpotPriceHistory", "spotPriceHistorySet", items[start : start + PAGE], more)
        return Response(text, media_type="text/xml")

    def _reserved(self, call: behind.Call) -> Response:
        self.cloud.offers()
        wanted = call.form.get("CapacityReservationId.1")
        self._check_reservation(wanted)
        rows = [row for row in self.reservations if wanted in {None, row["capacityReservationId"]}]
        text = documents.listing("DescribeCapacityReservations", "capacityReservationSet", rows)
        return Response(text, media_type="text/xml")

    def _check_reservation(self, wanted: str | None) -> None:
        if wanted not in {None, *(row["capacityReservationId"] for row in self.reservations)}:
            raise Refused(400, "InvalidCapacityReservationId.NotFound", f"The reservation '{wanted}' does not exist")

    def _shape_at(self, instance_type: str, zone: str) -> Shape:
        for shape in self.cloud.settings.shapes:
            if (shape.instance_type, shape.zone) == (instance_type, zone):
                return shape
        raise Refused(404, "no_such_type", f"Invalid value '{instance_type}' for InstanceType.")

    def launch_foreign(self) -> str:
        """A machine that somebody else has, known to moto alone."""
        form = {"Action": "RunInstances", "Version": "2016-11-15", "ImageId": "ami-1", "InstanceType": "t3.micro",
                "MinCount": "1", "MaxCount": "1"}  # fmt: skip
        return documents.instance_id(behind.forward("ec2", REGION, urlencode(form).encode()).data)
