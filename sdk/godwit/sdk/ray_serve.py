"""Ray Serve and godwit: an application of Ray Serve as a replica of a service (`kind: service`, `ray: true`).

    ray_serve.run(Model.options(num_replicas=ray_serve.nodes()).bind())

at the end of the program that the specification's `run` starts. Let `readiness` ask a path that the application itself
answers: Serve's own /-/healthz says yes as soon as the head knows the routes, before there is a model behind them.
"""

import os
import signal
import threading
from collections.abc import Mapping
from typing import Any

from ray import serve

LINGER_S = 2.0
"""How long it takes requests on after it was told to stop: until every gateway has heard that it goes."""


def nodes() -> int:
    """How many nodes this replica of the service has; 1 outside of godwit."""
    return int(os.environ.get("GODWIT_NUM_NODES", "1"))


def run(application: Any, *, name: str = "default", http: Mapping[str, Any] | None = None) -> None:
    """Serve `application` where gateways look for it, until SIGTERM; blocks. Call it in the main thread.

    What is in flight then is answered before this returns, for as long as the deployments' own
    `graceful_shutdown_timeout_s` allows. `http` are further options of Serve's HTTP proxy. Raises what Serve raises on
    an application that does not come up; the replica has failed then, and another one takes its place.
    """
    leaving = threading.Event()
    serve.start(proxy_location="HeadOnly", http_options={**(http or {}), **listening()})
    # Ray, which has just started, ends a driver at SIGTERM as it stands.
    signal.signal(signal.SIGTERM, lambda _number, _frame: leaving.set())
    # Gateways keep the log of requests; in this one each probe would have a line.
    serve.run(application, name=name, logging_config={"enable_access_log": False})
    leaving.wait()
    threading.Event().wait(LINGER_S)
    serve.delete(name)


def listening() -> dict[str, Any]:
    """Host and port for Serve's `http_options`: those of the replica; outside of godwit Serve's own defaults."""
    if "GODWIT_PORT" not in os.environ:
        return {}
    return {"host": "0.0.0.0", "port": int(os.environ["GODWIT_PORT"])}  # noqa: S104 - as any program of a service
