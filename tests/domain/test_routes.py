"""The route table goes over the wire and comes back, also between releases."""

import pytest
from godwit.domain.wire.routes import KeyRoute, ReplicaRoute, RouteTable, ServiceRoute, VersionRoute
from pydantic import ValidationError


def _table() -> RouteTable:
    replica = ReplicaRoute(id="r-1", url="http://127.0.0.1:9000", version="1")
    service = ServiceRoute(
        name="chat", project="default", models=["small"], versions=[VersionRoute(name="1")], replicas=[replica]
    )
    return RouteTable(version=7, services=[service], keys=[KeyRoute(id="k", sha256="0" * 64, project="default")])


def test_a_table_comes_back_as_it_was_sent() -> None:
    assert RouteTable.model_validate_json(_table().model_dump_json()) == _table()


def test_a_gateway_reads_the_table_of_a_newer_control_plane() -> None:
    newer = _table().model_dump() | {"colours": ["a thing of tomorrow"]}
    assert RouteTable.model_validate(newer) == _table()


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "http://host/path", "file:///etc", "http://a b", ""])
def test_a_replica_is_reached_by_scheme_host_and_port_alone(url: str) -> None:
    with pytest.raises(ValidationError):
        ReplicaRoute(id="r-1", url=url, version="1")
