"""A replica with a Ray cluster of its own: what answers at the port it was given is an actor of that cluster."""

import textwrap
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from godwit.domain.wire.agents import StopAttempt
from godwit.domain.wire.replicas import Serve

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

APPLICATION = textwrap.dedent("""\
    import http.server, os
    import ray

    ray.init()

    @ray.remote(num_cpus=0.1)
    class Hello:
        def says(self, path):
            return f"hello from {path}"

    hello = Hello.remote()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            said = ray.get(hello.says.remote(self.path)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_args):
            pass

    http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
""")


def test_an_application_on_ray_takes_requests_on_its_port(
    plane: Any, machines: Callable[..., list[Any]], starts: Callable[..., list[Any]], tmp_path: Any, eventually: Any
) -> None:
    (machine,) = machines()
    program = tmp_path / "application.py"
    program.write_text(APPLICATION)
    serve = Serve.model_validate({"ray": True, "readiness": {"path": "/hello", "period_s": 0.5, "timeout_s": 20.0}})
    plane.order(machine.name, *starts([machine], f"python {program}", serve=serve))
    eventually(lambda: plane.seen(machine.name, "replica-seen") or plane.end_of(machine.name), 300, "it serves")
    assert plane.end_of(machine.name) is None, plane.text("att-1")
    seen = plane.seen(machine.name, "replica-seen")[-1]
    assert seen.ready
    with urllib.request.urlopen(f"http://{machine.address}:{seen.port}/hello", timeout=60) as answer:
        assert answer.read() == b"hello from /hello"
    stop = StopAttempt(intent_id="stop", job_id="job-1", attempt_id="att-1", epoch=1, grace_s=1.0, reason="enough")
    plane.order(machine.name, stop)
    assert eventually(lambda: plane.end_of(machine.name), 120).outcome == "cancelled"
