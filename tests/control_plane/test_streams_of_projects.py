"""Streams of who is bound to a project: nothing of another's is opened by them, comes on them, or is named on them."""

from collections.abc import Iterator

import httpx
import pytest
from godwit.control_plane.api.roles import RULES, Reach
from godwit.domain.access import Role

from tests.control_plane.apis import BEARER, DEADLINE_S, app_of, served
from tests.control_plane.test_roles import MINE, OTHERS, STREAMS, Tenants
from tests.control_plane.test_streams import messages
from tests.control_plane.world import World


@pytest.fixture
def tenants(embedded: World) -> Tenants:
    embedded.read_offers()
    return Tenants(embedded)


@pytest.fixture
def http(embedded: World, tenants: Tenants) -> Iterator[httpx.Client]:
    """A viewer who is bound to `MINE`, at a real server, since a stream does not end by itself."""
    headers = tenants.headers[Role.VIEWER]
    with served(app_of(embedded)) as url, httpx.Client(base_url=url, headers=headers, timeout=DEADLINE_S) as client:
        yield client


def opened(http: httpx.Client, path: str) -> int:
    """The status of a stream, of which nothing more is read."""
    with http.stream("GET", path) as response:
        return response.status_code


def about(route: str, job: str) -> str:
    """Where this stream is asked for of a job."""
    path = route.split()[1]
    return path.format(job=job) if "{job}" in path else f"{path}?job={job}"


def test_streams_of_a_job_are_open_to_its_own_project_and_to_others_it_is_as_if_there_were_none(
    http: httpx.Client, tenants: Tenants
) -> None:
    of_one_job = [route for route in STREAMS if RULES[route].reach in {Reach.JOB, Reach.ASKED_JOB}]
    assert len(of_one_job) == 2
    for route in of_one_job:
        assert opened(http, about(route, tenants.named[MINE]["job"])) == 200, route
        assert opened(http, about(route, f"{MINE}-job")) == 200, route
        for theirs in (tenants.named[OTHERS]["job"], f"{OTHERS}-job", "nobodys"):
            assert opened(http, about(route, theirs)) == 404, (route, theirs)


def test_a_stream_of_everybodys_events_is_not_open(http: httpx.Client, tenants: Tenants) -> None:
    assert opened(http, "/v1/events/stream") == 403
    assert opened(http, f"/v1/events/stream?job={MINE}-array") == 200
    assert opened(http, f"/v1/events/stream?job={OTHERS}-array") == 404


def test_on_a_stream_of_a_jobs_events_no_others_come(http: httpx.Client, tenants: Tenants, embedded: World) -> None:
    mine = tenants.named[MINE]["job"]
    with http.stream("GET", f"/v1/events/stream?job={mine}") as response:
        stream = messages(response)
        assert next(stream)["data"]["job_id"] == mine
        embedded.submit("more", project=OTHERS)
        embedded.cancel(mine)
        assert next(stream)["data"]["job_id"] == mine


def test_what_changed_for_others_is_told_without_a_name(http: httpx.Client, tenants: Tenants, embedded: World) -> None:
    with (
        http.stream("GET", "/v1/changes/stream") as bound,
        http.stream("GET", "/v1/changes/stream", headers=BEARER) as unbound,
    ):
        told, named = messages(bound), messages(unbound)
        assert next(told)["data"]["changed"] == next(named)["data"]["changed"] == {}
        theirs = embedded.submit("more", project=OTHERS)
        assert next(named)["data"]["changed"] == {"jobs": [theirs]}
        assert next(told)["data"]["changed"] == {"jobs": []}, "it is told to read again all that it may"


def test_what_changed_before_is_told_without_a_name_too(http: httpx.Client, tenants: Tenants) -> None:
    with http.stream("GET", "/v1/changes/stream?after=0") as response:
        stream = messages(response)
        next(stream)
        changed = next(stream)["data"]["changed"]
    assert {"jobs", "services"} <= set(changed)
    assert not any(changed.values())
