"""A gRPC server in front of an emulator: it checks tokens and applies faults, as `emulator._Front` does for HTTP."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from godwit.providers.simulated.vendor import Refused

from tests.emulators.emulator import SILENCE_S, Emulator

EXCHANGE = "nebius.iam.v1.TokenExchangeService/Exchange"


@dataclass(frozen=True)
class Call:
    """One request: the bytes of its message, and its idempotency key."""

    method: str
    body: bytes
    key: str
    authorization: str


class GrpcServing(Emulator):
    """Serves `methods` instead of routes."""

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """What answers each method, by its full name."""
        raise NotImplementedError

    def status_of(self, refused: Refused) -> tuple[grpc.StatusCode, bytes]:
        """A refusal as a code and a serialized google.rpc.Status."""
        raise NotImplementedError

    valid_tokens: set[str]
    """The bearer tokens that were sold and not taken back."""

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port of 127.0.0.1; yields its URL."""
        pool = ThreadPoolExecutor(16)
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((_Handler(self),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop(0).wait(10)
            pool.shutdown()


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    def __init__(self, emulator: GrpcServing) -> None:
        self._emulator = emulator

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self._answer(details.method.lstrip("/"), body, context)
        )

    def _answer(self, method: str, body: bytes, context: grpc.ServicerContext) -> bytes:
        given = dict(context.invocation_metadata())
        call = Call(method, body, str(given["x-idempotency-key"]), str(given.get("authorization", "")))
        emulator = self._emulator
        refused: Refused | None = None
        answer: bytes = b""
        with emulator.lock:
            before, sold = emulator.cloud.faults.lose_answers, len(emulator.cloud.live())
            delay_s = emulator.cloud.faults.delay_s
            try:
                answer = self._routed(call)
            except Refused as exc:
                refused = exc
            lost = len(emulator.cloud.live()) > sold and before > 0 and emulator.cloud.strike("lose_answers")
        if lost or delay_s:
            _hold(context, SILENCE_S if lost else delay_s)
        if refused is not None:
            code, status = emulator.status_of(refused)
            context.set_trailing_metadata((("grpc-status-details-bin", status),))
            context.abort(code, str(refused))
        return answer

    def _routed(self, call: Call) -> bytes:
        emulator = self._emulator
        if call.method != EXCHANGE and call.authorization.removeprefix("Bearer ") not in emulator.valid_tokens:
            raise Refused(401, "unauthorized", "the token is not valid")
        return bytes(emulator.methods()[call.method](call).SerializeToString())


def _hold(context: grpc.ServicerContext, seconds: float) -> None:
    """Wait so long, or until the client gives up: who is still held takes a thread of the pool from those who come."""
    given_up = threading.Event()
    if context.add_callback(given_up.set):
        given_up.wait(seconds)
