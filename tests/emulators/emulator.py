"""What all emulators of clouds share: a real socket, a simulated `Cloud` behind it, its faults, and the vendor's own
API description to hold requests and answers against.

An emulator is a facade: it translates the vendor's routes and bodies to the orders and rows of a `Cloud` (see
`godwit.providers.simulated`), which keeps machines, capacity, meters and faults. What a vendor does oddly is in its
facade. The descriptions lie beside the checkout and are read only where they are present.
"""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from godwit.domain.clock import Clock, ManualClock
from godwit.providers.machines import Machines
from godwit.providers.simulated.catalogue import Shape
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings
from godwit.providers.simulated.vendor import Refused
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.emulators import swagger

SPECS = Path(__file__).parents[3] / "shared" / "reference" / "specs"

SILENCE_S = 30.0
"""How long an answer that gets lost is held open: longer than any test's client waits."""

API_KEY = "key-of-the-emulator"


class Emulator:
    """One vendor's API. Subclasses give `routes`, `refusal` and the description's file name."""

    spec: str | None = None
    """File name under the descriptions' folder; None where there is none."""

    spec_prefix = ""
    """What the description's paths leave out of the URL's."""

    def __init__(
        self,
        shapes: Sequence[Shape],
        *,
        page_limit: int = 2,
        quota_gpus: int | None = None,
        clock: Clock | None = None,
        machines: Machines | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.lock = threading.RLock()
        settings = CloudSettings(
            "emulated", 1, "127.16.1", tuple(shapes), boot_s=(2.0, 4.0), stop_s=1.0, page_limit=page_limit,
            quota_gpus=quota_gpus, listed_s=60.0,
        )  # fmt: skip
        # What ended is listed for a minute: long enough to be seen, short enough that some of it leaves unseen.
        # Machines are on paper and time is moved by hand, unless somebody wants them real.
        self.cloud = Cloud(settings, clock or self.clock, random.Random(7), machines or PaperMachines())
        self.invalid: list[str] = []
        """What went against the vendor's description, in either direction. Tests demand that it stays empty."""
        self.valid: set[Hashable] = set()
        """Requests and answers that were found to go by it: most come again word for word."""
        self._serial = 0

    def routes(self) -> Sequence[BaseRoute]:
        """The vendor's routes."""
        raise NotImplementedError

    def refusal(self, refused: Refused) -> Response:
        """A refusal of the `Cloud` in the vendor's words."""
        raise NotImplementedError

    def described(self, path: str) -> str:
        """The path of a request as the description spells it."""
        return path.removeprefix(self.spec_prefix)

    def authorised(self, request: Request) -> bool:
        """Whether the request carries the vendor's credential."""
        return request.headers.get("authorization") == f"Bearer {API_KEY}"

    def unauthorised(self) -> Response:
        """The vendor's answer to a wrong credential."""
        return self.refusal(Refused(401, "unauthorized", "the key is wrong"))

    def front(self, app: ASGIApp) -> ASGIApp:
        """What stands before the routes; to be widened where a vendor's answers are streams."""
        return _Front(app, self)

    # What facades use.

    def fresh_token(self) -> str:
        """A client token of our own: most vendors have none, so each call is a new order."""
        self._serial += 1
        return f"call-{self._serial}"

    def launch(
        self, shape: Shape, marks: dict[str, str], *, spot: bool = False, token: str = "", user_data: str = ""
    ) -> dict[str, Any]:
        """Sell a machine of `shape`; `marks` come back as the row's "tags"."""
        return self.cloud.launch(
            {
                "client_token": token or self.fresh_token(), "instance_type": shape.instance_type,
                "region": shape.region, "zone": shape.zone, "spot": spot, "tags": marks, "user_data": user_data,
            }
        )  # fmt: skip

    def shape(self, instance_type: str, region: str | None = None) -> Shape:
        """The shape of that name (and place). Refused when it is not sold."""
        for shape in self.cloud.settings.shapes:
            if shape.instance_type == instance_type and region in {None, shape.region}:
                return shape
        raise Refused(404, "no_such_type", f"{instance_type} is not sold in {region}")

    def available(self, shape: Shape, *, spot: bool = False) -> int:
        """How many more can be had."""
        rows = self.cloud.offers()
        return next(
            int(r["available"])
            for r in rows
            if (r["instance_type"], r["region"], r["zone"], r["spot"])
            == (shape.instance_type, shape.region, shape.zone, spot)
        )

    def rows(self) -> list[dict[str, Any]]:
        """Every machine that listings show now, oldest first."""
        found, cursor = [], None
        while True:
            page = self.cloud.instances(cursor, 100)
            found += page["instances"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    # Serving.

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port of 127.0.0.1; yields the URL."""
        handlers: Any = {Refused: self._refused, HTTPException: self._http_error}
        app = Starlette(routes=list(self.routes()), exception_handlers=handlers)
        config = uvicorn.Config(self.front(app), port=0, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline, "the emulator did not start"
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            # It looks at this ten times a second and then waits a tenth more for its connections; nobody waits for it.
            server.should_exit = server.force_exit = True

    async def _refused(self, _request: Request, refused: Exception) -> Response:
        assert isinstance(refused, Refused)
        return self.refusal(refused)

    async def _http_error(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self.refusal(Refused(error.status_code, "not_found", error.detail))


class _Front:
    """In front of the routes: reads the body, checks the key, applies the faults, validates both directions."""

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app, self._emulator = app, emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await request.body()
        response = await self._answer(scope, request, body)
        if response is not None:
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, request: Request, body: bytes) -> Response | None:
        emulator = self._emulator
        if not emulator.authorised(request):
            return emulator.unauthorised()
        with emulator.lock:
            before = emulator.cloud.faults.lose_answers
            sold = len(emulator.cloud.live())
        delay_s = emulator.cloud.faults.delay_s
        response = await self._routed(scope, body)
        with emulator.lock:
            launched = len(emulator.cloud.live()) > sold
            lost = launched and before > 0 and emulator.cloud.strike("lose_answers")
        self._validate(request, body, response)
        if lost or delay_s:
            await asyncio.sleep(SILENCE_S if lost else delay_s)
        return response

    async def _routed(self, scope: Scope, body: bytes) -> Response:
        collected: dict[str, Any] = {"body": b""}

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                collected.update(status=message["status"], headers=message["headers"])
            else:
                collected["body"] += message.get("body", b"")

        with self._emulator.lock:
            await self._app(scope, receive, send)
        response = Response(collected["body"], collected["status"])
        response.raw_headers = collected["headers"]
        return response

    def _validate(self, request: Request, body: bytes, response: Response) -> None:
        description = _description(self._emulator.spec)
        if description is None or self._emulator.cloud.faults.state_word is not None:
            return  # a state that the description does not know is what that fault is for
        path = self._emulator.described(request.url.path)
        asked = MockRequest(
            str(request.base_url).rstrip("/"), request.method, path, args=dict(request.query_params), data=body or None,
            headers=dict(request.headers), content_type=request.headers.get("content-type", "application/json"),
        )  # fmt: skip
        answered = MockResponse(
            bytes(response.body), response.status_code, content_type=response.headers.get("content-type", "")
        )
        words = (request.method, path, request.url.query, asked.content_type, body)
        self._note(request, "request", words, lambda: description.validate_request(asked))
        if response.status_code < 400:
            said = (request.method, path, response.status_code, answered.content_type, bytes(response.body))
            self._note(request, "answer", said, lambda: description.validate_response(asked, answered))

    def _note(self, request: Request, what: str, words: Hashable, check: Callable[[], object]) -> None:
        if words in self._emulator.valid:
            return
        try:
            check()
            self._emulator.valid.add(words)
        except Exception as exc:  # noqa: BLE001 - whatever the validator finds is a finding, noted for the test
            cause = f"{exc.__cause__ or exc}"
            self._emulator.invalid.append(f"{request.method} {request.url.path} {what}: {cause[:2000]}")


@cache
def _description(name: str | None) -> OpenAPI | None:
    """The vendor's description without its servers and security, which are about the vendor's own addresses."""
    path = SPECS / (name or "")
    if name is None or not path.exists():
        return None
    spec = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    if "swagger" in spec:
        spec = swagger.upgraded(spec)
    spec["servers"] = [{"url": "/"}]
    spec.pop("security", None)
    for item in spec["paths"].values():
        item.pop("servers", None)
        for operation in item.values():
            if isinstance(operation, dict):
                operation.pop("security", None)
                operation.pop("servers", None)
    return OpenAPI.from_dict(spec)


def answer(body: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return JSONResponse(body, status_code=status)


def number_of(instance_id: str) -> int:
    """A machine's id as the number that some vendors use."""
    return int(instance_id.removeprefix("i-"), 16)


def id_of(number: int) -> str:
    """The machine of that number."""
    return f"i-{number:012x}"
