"""What a specification says of a service, there and back."""

from typing import Any

import pytest
from godwit.control_plane.services import views
from godwit.domain.errors import InvalidRequest
from godwit.domain.serving import Serving
from godwit.domain.wire import serving
from godwit.domain.wire.specs import JobSpecIn
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

WAITS = st.integers(1, 3600).flatmap(lambda n: st.sampled_from([f"{n}s", f"{n}m", f"{n}h", f"{n * 50}ms"]))


def service(**more: Any) -> JobSpecIn:
    return JobSpecIn.model_validate({"kind": "service", "name": "chat", "run": "python serve.py", **more})


def asked(**more: Any) -> Serving:
    found = service(**more).to_domain(0.0).serving
    assert found is not None
    return found


@given(wait=WAITS)
def test_a_wait_reads_the_same_once_it_was_written(wait: str) -> None:
    assert serving.seconds(serving.wait_text(serving.seconds(wait))) == serving.seconds(wait)


@given(
    low=st.integers(0, 5),
    more=st.integers(0, 5),
    port=st.none() | st.integers(1, 65_535),
    path=st.none() | st.just("/health"),
    drain=WAITS,
    strategy=st.sampled_from(["rolling", "blue-green", "canary"]),
    scaled=st.booleans(),
    hedge=st.sampled_from(["never", "idempotent", "always"]),
)
def test_a_service_is_shown_as_it_was_asked_for(
    low: int, more: int, port: int | None, path: str | None, drain: str, strategy: str, scaled: bool, hedge: str
) -> None:
    written = service(
        replicas=f"{low}..{low + more}" if low + more else 0,
        port=port,
        readiness={"path": path},
        liveness={"path": path, "failures": 5} if path else None,
        drain=drain,
        autoscale={"on": "latency", "target": 0.5} if scaled else None,
        rollout={"strategy": strategy, "steps": [0.1, 0.9], "shadow": 0.5 if strategy == "blue-green" else 0.0},
        requests={"hedge": hedge, "priority": "batch", "affinity": "prefix", "queue_wait": "500ms", "retries": 0},
    )
    spec = written.to_domain(0.0)
    assert views.spec(spec).to_domain(0.0) == spec


def test_replicas_are_a_number_or_a_range_and_a_range_is_scaled_by_itself() -> None:
    assert (asked(replicas=3).replicas_min, asked(replicas=3).autoscale) == (3, None)
    ranged = asked(replicas="0..4")
    assert (ranged.replicas_min, ranged.replicas_max) == (0, 4)
    assert ranged.autoscale is not None
    with pytest.raises(InvalidRequest, match=r"4\.\.2"):
        asked(replicas="4..2")


def test_a_replica_of_several_nodes_has_a_ray_of_its_own() -> None:
    assert not asked().ray
    assert asked(resources={"nodes": 2}).ray


def test_a_service_has_no_end_and_so_nothing_that_speaks_of_one() -> None:
    for key, value in {"deadline": "+3h", "run_time": "2h", "count": 3}.items():
        with pytest.raises(ValidationError, match=f"{key} is not for kind: service"):
            service(**{key: value})
