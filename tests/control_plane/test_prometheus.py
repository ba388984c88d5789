"""Scaling by a query: one number, of addresses that the operator allows, and nothing that hangs or floods."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from godwit.control_plane import prometheus
from godwit.control_plane.prometheus import NoNumber
from godwit.control_plane.reconcilers.measures import Measures
from godwit.control_plane.reconcilers.serving import Serving
from godwit.domain.errors import InvalidRequest

from tests.control_plane.replicated import Services
from tests.control_plane.world import World

pytestmark = pytest.mark.embedded

URL = "http://prometheus:9090"
SCALE = {"on": "prometheus", "query": "sum(depth)", "target": 10, "window": "2s", "down_after": "60s"}


def answer(result: Any, kind: str = "vector") -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def asked(response: httpx.Response) -> float:
    def handle(request: httpx.Request) -> httpx.Response:
        assert str(request.url).startswith(f"{URL}/api/v1/query?query=sum%28depth%29&timeout=5s")
        return response

    return prometheus.ask(URL, "sum(depth)", transport=httpx.MockTransport(handle))


@pytest.mark.parametrize(
    ("result", "kind"), [([{"metric": {}, "value": [1.5, "42.5"]}], "vector"), ([1.5, "42.5"], "scalar")]
)
def test_a_vector_of_one_and_a_scalar_are_numbers(result: Any, kind: str) -> None:
    assert asked(httpx.Response(200, content=answer(result, kind))) == 42.5


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (answer([]), "0 series"),
        (answer([{"value": [1, "1"]}] * 3), "3 series"),
        (answer([{"value": [1, "NaN"]}]), "nan"),
        (answer([{"value": [1, "-1"]}]), "not negative"),
        (answer([{"value": [1, "many"]}]), "no number"),
        (answer([{"values": []}]), "no value"),
        (answer([], "matrix"), "a matrix"),
        (b"<html>", "no JSON"),
        (b"[]", "no reason given"),
        (b"[" * 60_000, "no JSON"),
        (json.dumps({"status": "error", "error": "parse error"}).encode(), "parse error"),
        (b"x" * (prometheus.ANSWER_BYTES_MAX + 1), "longer than"),
    ],
)
def test_all_else_is_no_number_and_says_why(content: bytes, why: str) -> None:
    with pytest.raises(NoNumber, match=why):
        asked(httpx.Response(200, content=content))


def test_a_redirect_leads_nowhere_and_who_does_not_answer_is_named() -> None:
    with pytest.raises(NoNumber, match="redirect"):
        asked(httpx.Response(302, headers={"location": "http://169.254.169.254/"}))

    def hangs(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out", request=request)

    with pytest.raises(NoNumber, match="prometheus:9090 does not answer"):
        prometheus.ask(URL, "up", transport=httpx.MockTransport(hangs))


def test_the_operator_says_which_addresses_may_be_asked(tmp_path: Path) -> None:
    assert prometheus.allowed([f"{URL}/", "https://mimir/prometheus"], tmp_path) == (URL, "https://mimir/prometheus")
    assert prometheus.allowed(None, tmp_path) == ()
    for wrong in (URL, [1], ["ftp://x"], ["http://user:secret@x"], ["http://x?a=b"]):
        with pytest.raises(InvalidRequest, match="prometheus must be"):
            prometheus.allowed(wrong, tmp_path)


def test_a_service_may_name_only_those(world: World) -> None:
    services = Services(world)
    with pytest.raises(InvalidRequest, match="no Prometheus may be asked"):
        services.put(autoscale=SCALE, replicas="1..5")
    world.context = replace(world.context, prometheus=(URL,))
    with pytest.raises(InvalidRequest, match="may not be asked"):
        services.put(autoscale={**SCALE, "url": "http://169.254.169.254"}, replicas="1..5")
    with pytest.raises(InvalidRequest, match="goes with"):
        services.put(autoscale={**SCALE, "on": "tokens"}, replicas="1..5")
    assert services.put(autoscale={**SCALE, "url": f"{URL}/"}, replicas="1..5").replicas == 1


def test_replicas_follow_what_the_query_gives_and_stay_where_they_are_without(world: World) -> None:
    world.context = replace(world.context, prometheus=(URL,))
    services, gives = Services(world), [35.0]

    def ask(url: str, query: str) -> float:
        assert (url, query) == (URL, "sum(depth)")
        if not gives:
            raise NoNumber("it does not answer")
        return gives[-1]

    measures = Measures(world.context, ask)
    services.loop = Serving(world.context, measures.latest)
    services.put(autoscale=SCALE, replicas="0..5")

    def wanted(seconds: int) -> int:
        for _ in range(seconds):
            world.clock.advance(1.0)
            measures.step()
            services.loop.step()
        return services.service().replicas

    assert wanted(3) == 4
    gives.clear()
    assert wanted(300) == 4, "nothing was measured"
    gives.append(5.0)
    assert wanted(70) == 1
    told = [event.reason for event in world.events("service.signal")]
    assert told == ["its query gives nothing to scale by: it does not answer", "its query gives a number"]
