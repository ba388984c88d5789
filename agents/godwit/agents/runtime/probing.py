"""Asks a replica whether it takes requests and whether it lives, from beside it, and says when the answer changes.

What counts is pure (`Judged`); a thread does the asking, so that a replica that does not answer keeps nobody waiting.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx
from godwit.domain.wire.replicas import Ask, Serve

REDIRECT_MAX = 399
"""2xx and 3xx are a yes, as Kubernetes' HTTP probes take them."""


@dataclass(frozen=True)
class Judged:
    """What the answers so far come to: whether it takes requests, and why it is to be started anew, if it is.

    `unready` and `dead` count failures in a row. Liveness counts once it was ready for the first time: what takes long
    to start is not dead, and a deadline of its own ends what never starts.
    """

    ready: bool = False
    was_ready: bool = False
    unready: int = 0
    dead: int = 0
    detail: str = ""
    died: str = ""


def after_readiness(so_far: Judged, ask: Ask, failure: str) -> Judged:
    """What one more answer about readiness comes to; `failure` is empty for a yes."""
    if not failure:
        return replace(so_far, ready=True, was_ready=True, unready=0, detail="")
    unready = so_far.unready + 1
    still = so_far.ready and unready < ask.failures
    return replace(so_far, ready=still, unready=unready, detail=so_far.detail if still else failure)


def after_liveness(so_far: Judged, ask: Ask, failure: str) -> Judged:
    """The same about liveness."""
    if not failure or not so_far.was_ready:
        return replace(so_far, dead=0)
    dead = so_far.dead + 1
    died = f"it did not answer {dead} times in a row: {failure}" if dead >= ask.failures else ""
    return replace(so_far, dead=dead, ready=so_far.ready and not died, died=died, detail=died or so_far.detail)


def answer(host: str, port: int, ask: Ask) -> str:
    """Ask once; returns why the answer is no, nothing for a yes."""
    if ask.path is None:
        try:
            socket.create_connection((host, port), timeout=ask.timeout_s).close()
        except OSError as exc:
            return f"port {port} takes no connection: {exc}"
        return ""
    at = f"[{host}]" if ":" in host else host
    try:
        # The status line is the answer; a body may be long, and a hanging one says nothing of readiness.
        with httpx.stream("GET", f"http://{at}:{port}{ask.path}", timeout=ask.timeout_s, trust_env=False) as response:
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        return f"GET {ask.path} failed: {type(exc).__name__}: {exc}"
    return "" if 200 <= status <= REDIRECT_MAX else f"GET {ask.path} was answered with {status}"


class Prober:
    """Asks one replica in a thread of its own until it is closed or the replica is found dead.

    `say(ready, detail)` hears each change, and `died(why)` once that it must be started anew.
    """

    def __init__(
        self, serve: Serve, host: str, port: int, say: Callable[[bool, str], None], died: Callable[[str], None]
    ) -> None:
        self._serve, self._host, self._port = serve, host, port
        self._say, self._died = say, died
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"probe-{port}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more; what is being asked is not waited for."""
        self._closing.set()

    def _run(self) -> None:
        judged, told, live_at = Judged(), False, 0.0
        while not self._closing.is_set():
            failure = answer(self._host, self._port, self._serve.readiness)
            judged = after_readiness(judged, self._serve.readiness, failure)
            if self._serve.liveness is not None and time.monotonic() >= live_at:
                live_at = time.monotonic() + self._serve.liveness.period_s
                failure = answer(self._host, self._port, self._serve.liveness)
                judged = after_liveness(judged, self._serve.liveness, failure)
            if self._closing.is_set():
                return
            if judged.ready != told:
                told = judged.ready
                self._say(told, judged.detail)
            if judged.died:
                self._died(judged.died)
                return
            self._closing.wait(self._serve.readiness.period_s)
