"""The simulated clouds' HTTP API, and the process that serves it on 127.0.0.1.

GET  /health                                             no key; {"pid", "clouds"}
POST /stop                                               end every machine of every cloud, then this process
GET  /clouds/NAME/v1/offers | instances | instances/ID | billing | notices
POST /clouds/NAME/v1/instances                           Order -> 201 instance
DEL  /clouds/NAME/v1/instances/ID
GET, PUT, DELETE /clouds/NAME/faults                     the fault panel: show, replace, clear
POST /clouds/NAME/faults/drill                           {"instance_id", "kind", "gpu"}
POST /clouds/NAME/faults/notice                          {"instance_id", "after_s"}
GET  /clouds/NAME/faults/machines                        pid and folder of each live machine on this host
"""

import asyncio
import contextlib
import hmac
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from godwit.domain.drills import Drill
from godwit.domain.wire.pages import Message
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.faults import Faults, Seconds
from godwit.providers.simulated.host import Host
from godwit.providers.simulated.vendor import STARTUP_LIMIT_BYTES, Refused
from pydantic import Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

_log = logging.getLogger(__name__)

SILENCE_S = 60.0
"""How long a launch whose answer gets lost is held open: longer than any client waits."""

BODY_LIMIT_BYTES = 4 * STARTUP_LIMIT_BYTES

Name = Annotated[str, Field(min_length=1, max_length=128)]


class Order(Message):
    """A launch."""

    client_token: Name
    instance_type: Name
    region: Name
    zone: Name | None = None
    spot: bool = False
    tags: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=50)] = Field(
        default_factory=dict
    )
    user_data: str = ""


class Break(Message):
    """A machine that is broken on purpose, or one GPU of it."""

    instance_id: Name
    kind: Drill
    gpu: Annotated[int, Field(ge=0)] | None = None


class Notice(Message):
    """The spot machine that is taken back in `after_s`."""

    instance_id: Name
    after_s: Seconds = 120.0


class Api:
    """The routes over one `Host`. `stop` ends the process, once all machines are gone."""

    def __init__(self, host: Host, stop: Callable[[], None]) -> None:
        self._host = host
        self._stop = stop
        self._tasks: set[asyncio.Task[None]] = set()

    def app(self) -> Starlette:
        """The ASGI application; its lifespan drives the clouds."""
        cloud_routes = [
            Route("/v1/offers", self.offers),
            Route("/v1/instances", self.instances, methods=["GET"]),
            Route("/v1/instances", self.launch, methods=["POST"]),
            Route("/v1/instances/{id}", self.instance, methods=["GET", "DELETE"]),
            Route("/v1/billing", self.billing),
            Route("/v1/notices", self.notices),
            Route("/faults", self.faults, methods=["GET", "PUT", "DELETE"]),
            Route("/faults/drill", self.drill, methods=["POST"]),
            Route("/faults/notice", self.notice, methods=["POST"]),
            Route("/faults/machines", self.whereabouts),
        ]
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/stop", self.stop, methods=["POST"]),
                Mount("/clouds/{cloud}", routes=cloud_routes),
            ],
            lifespan=self._lifespan,
            exception_handlers={Refused: _refused, ValidationError: _invalid},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        driver = asyncio.create_task(self._host.run(), name="clouds")
        driver.add_done_callback(self._driver_ended)
        yield
        driver.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await driver

    def _driver_ended(self, driver: "asyncio.Task[None]") -> None:
        """Without its driver this process would sell machines that never boot: say why, and end it."""
        if not driver.cancelled() and (failure := driver.exception()) is not None:
            _log.critical("the clouds stand still; this process ends", exc_info=failure)
            self._stop()

    async def health(self, _request: Request) -> Response:
        """Serving, and who."""
        return JSONResponse({"pid": os.getpid(), "clouds": sorted(self._host.clouds)})

    async def stop(self, request: Request) -> Response:
        """End everything."""
        self._authorise(request)
        self._host.end_all()
        task = asyncio.create_task(self._stop_when_idle())
        self._tasks.add(task)
        return JSONResponse({}, status_code=202)

    async def _stop_when_idle(self) -> None:
        while self._host.busy():
            await asyncio.sleep(0.05)
        self._stop()

    async def offers(self, request: Request) -> Response:
        """Everything for sale."""
        cloud = self._cloud(request)
        return await self._answer(cloud, lambda: {"offers": cloud.offers()})

    async def instances(self, request: Request) -> Response:
        """One page of machines."""
        cloud = self._cloud(request)
        cursor, limit = request.query_params.get("cursor"), request.query_params.get("limit", "")
        return await self._answer(cloud, lambda: cloud.instances(cursor, int(limit) if limit.isdecimal() else None))

    async def launch(self, request: Request) -> Response:
        """Sell a machine."""
        cloud = self._cloud(request)
        order = Order.model_validate_json(await _body(request))
        answer = await self._answer(cloud, lambda: cloud.launch(order.model_dump()), status=201)
        if self._host.ask(lambda: cloud.strike("lose_answers")):
            await asyncio.sleep(SILENCE_S)
            raise Refused(504, "gateway_timeout", "no answer in time")
        return answer

    async def instance(self, request: Request) -> Response:
        """Show or end one machine."""
        cloud, instance_id = self._cloud(request), request.path_params["id"]
        if request.method == "DELETE":
            return await self._answer(cloud, lambda: cloud.terminate(instance_id), status=202)
        return await self._answer(cloud, lambda: cloud.instance(instance_id))

    async def billing(self, request: Request) -> Response:
        """Meters and the sum."""
        cloud = self._cloud(request)
        return await self._answer(cloud, cloud.billing)

    async def notices(self, request: Request) -> Response:
        """Spot machines that will be taken back."""
        cloud = self._cloud(request)
        return await self._answer(cloud, lambda: {"notices": cloud.notices()})

    async def faults(self, request: Request) -> Response:
        """Show, replace or clear what goes wrong."""
        cloud = self._cloud(request)
        if request.method != "GET":
            wanted = Faults.model_validate_json(await _body(request)) if request.method == "PUT" else Faults()
            self._host.ask(lambda: cloud.set_faults(wanted))
        return JSONResponse(cloud.faults.model_dump())

    async def drill(self, request: Request) -> Response:
        """Break a machine."""
        cloud = self._cloud(request)
        wanted = Break.model_validate_json(await _body(request))
        self._host.ask(lambda: cloud.drill(wanted.instance_id, wanted.kind, wanted.gpu))
        return JSONResponse({}, status_code=202)

    async def notice(self, request: Request) -> Response:
        """Announce that a spot machine is taken back."""
        cloud = self._cloud(request)
        notice = Notice.model_validate_json(await _body(request))
        self._host.ask(lambda: cloud.give_notice(notice.instance_id, notice.after_s))
        return JSONResponse({}, status_code=202)

    async def whereabouts(self, request: Request) -> Response:
        """Where the live machines are on this host."""
        rows = []
        for instance_id in self._cloud(request).live():
            where = self._host.machines.whereabouts(instance_id)
            if where is not None:
                rows.append({"id": instance_id, "pid": where.pid, "folder": where.folder})
        return JSONResponse({"machines": rows})

    async def _answer(self, cloud: Cloud, question: Callable[[], Any], status: int = 200) -> Response:
        """Ask at once, answer when the fault panel says so."""
        delay_s = cloud.faults.delay_s
        try:
            body = self._host.ask(question)
        finally:
            if delay_s:
                await asyncio.sleep(delay_s)
        return JSONResponse(body, status_code=status)

    def _cloud(self, request: Request) -> Cloud:
        self._authorise(request)
        cloud = self._host.clouds.get(request.path_params["cloud"])
        if cloud is None:
            raise Refused(404, "no_such_cloud", f"no cloud is called {request.path_params['cloud']}")
        return cloud

    def _authorise(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._host.api_key}".encode()):
            raise Refused(401, "unauthorized", "the API key is missing or wrong")


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise Refused(413, "too_large", f"a body has at most {BODY_LIMIT_BYTES} bytes")
    return body


async def _refused(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refused)
    headers = {"Retry-After": f"{exc.retry_after_s:g}"} if exc.retry_after_s is not None else {}
    body = {"error": {"code": exc.code, "message": str(exc)}}
    return JSONResponse(body, status_code=exc.status, headers=headers)


async def _invalid(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ValidationError)
    wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_input=False))
    return JSONResponse({"error": {"code": "invalid", "message": wrong}}, status_code=400)
