"""A replica with a Ray cluster of its own: what answers at the port it was given is Ray Serve."""

import textwrap
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from godwit.domain.wire.agents import StopAttempt
from godwit.domain.wire.replicas import Serve

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

APPLICATION = textwrap.dedent("""\
    import asyncio

    from godwit.sdk import ray_serve
    from ray import serve

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    class Hello:
        async def __call__(self, request):
            print("asked for", request.url.path, flush=True)
            await asyncio.sleep(float(request.query_params.get("for_s", 0)))
            return f"hello from {request.url.path}"

    ray_serve.run(Hello.bind())
""")


def test_an_application_of_ray_serve_takes_requests_on_its_port_and_answers_them_before_it_goes(
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
    with ThreadPoolExecutor(1) as user:
        last = user.submit(urllib.request.urlopen, f"http://{machine.address}:{seen.port}/long?for_s=5", timeout=120)
        eventually(lambda: "asked for /long" in plane.text("att-1"), 120, "it is asked")
        stop = StopAttempt(intent_id="stop", job_id="job-1", attempt_id="att-1", epoch=1, grace_s=90.0, reason="enough")
        plane.order(machine.name, stop)
        assert last.result().read() == b"hello from /long"
    assert eventually(lambda: plane.end_of(machine.name), 120).outcome == "cancelled"
