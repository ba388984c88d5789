"""Streams: what happens as it happens, resumed without a gap and without a repetition."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.control_plane.apis import BEARER, DEADLINE_S, app_of, served
from tests.control_plane.world import World


@pytest.fixture
def http(embedded: World) -> Iterator[httpx.Client]:
    """A client of a real server, since a stream does not end by itself."""
    with served(app_of(embedded)) as url, httpx.Client(base_url=url, headers=BEARER, timeout=DEADLINE_S) as client:
        yield client


def messages(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Server-sent events as they come; comments are left out."""
    fields: dict[str, Any] = {}
    for line in response.iter_lines():
        if not line and fields:
            yield fields | {"data": json.loads(fields["data"])}
            fields = {}
        elif line and not line.startswith(":"):
            key, _, value = line.partition(": ")
            fields[key] = value


def test_events_are_streamed_from_the_first_and_as_they_happen(http: httpx.Client, embedded: World) -> None:
    first = embedded.submit("first")
    with http.stream("GET", "/v1/events/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = messages(response)
        assert next(stream)["data"]["job_id"] == first
        second = embedded.submit("second")
        assert next(stream)["data"]["job_id"] == second


def test_a_reader_of_events_that_comes_back_misses_nothing_and_sees_nothing_twice(
    http: httpx.Client, embedded: World
) -> None:
    for n in range(5):
        embedded.submit(f"job{n}")
    seen: list[str] = []
    for headers in ({}, {"Last-Event-ID": "2"}):
        with http.stream("GET", "/v1/events/stream", headers=headers) as response:
            stream = messages(response)
            seen += [next(stream)["id"] for _ in range(2)]
    with http.stream("GET", "/v1/events/stream?after=4") as response:
        seen.append(next(messages(response))["id"])
    assert seen == ["1", "2", "3", "4", "5"]


def test_events_of_one_job_only(http: httpx.Client, embedded: World) -> None:
    embedded.submit("first")
    second = embedded.submit("second")
    with http.stream("GET", "/v1/events/stream?job=second") as response:
        assert next(messages(response))["data"]["job_id"] == second


@pytest.mark.parametrize("last", ["9" * 30, "9" * 5_000, "-1", "x", "²"])
def test_a_last_event_id_that_was_not_given_out_does_not_break_the_stream(
    http: httpx.Client, embedded: World, last: str
) -> None:
    embedded.submit()
    with http.stream("GET", "/v1/events/stream", headers={b"Last-Event-ID": last.encode()}) as response:
        assert response.status_code == 200
        assert next(messages(response))["id"] == "1"


def test_a_log_is_streamed_to_its_end_and_resumed_by_cursor(http: httpx.Client, embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    say(http, agent.credential, embedded.attempt(job_id).id, 0, "one\n")
    with http.stream("GET", f"/v1/jobs/{job_id}/logs/stream") as response:
        stream = messages(response)
        first = next(stream)
        assert (first["event"], first["data"]) == ("log", {"epoch": 1, "text": "one\n"})
        say(http, agent.credential, embedded.attempt(job_id).id, 4, "two €\n")
        assert next(stream)["data"]["text"] == "two €\n"
        agent.beat(agent.stopped(embedded.attempt(job_id).id, 1, "succeeded", exit_code=0))
        end = next(stream)
        assert (end["event"], end["data"]) == ("end", {"state": "succeeded", "exit_code": 0})
        assert next(stream, None) is None
    with http.stream("GET", f"/v1/jobs/{job_id}/logs/stream?after={first['id']}") as response:
        assert [m["event"] for m in messages(response)] == ["log", "end"]
    with http.stream("GET", f"/v1/jobs/{job_id}/logs/stream", headers={"Last-Event-ID": end["id"]}) as response:
        assert [m["event"] for m in messages(response)] == ["end"]


@pytest.mark.parametrize("after", ["1:99999999999999999999", "x", "9:0"])
def test_a_strange_log_cursor_does_not_break_the_stream(http: httpx.Client, embedded: World, after: str) -> None:
    job_id = embedded.submit()
    embedded.cancel(job_id)
    with http.stream("GET", f"/v1/jobs/{job_id}/logs/stream?after={after}") as response:
        assert [m["event"] for m in messages(response)] == ["end"]


def test_a_waiting_agent_gets_its_command_as_soon_as_it_is_owed(http: httpx.Client, embedded: World) -> None:
    job_id, (agent,) = embedded.run()
    headers = {"Authorization": f"Bearer {agent.credential}"}
    assert http.post("/v1/agent/commands", json={"wait_s": 0}, headers=headers).json()["commands"] == []
    embedded.cancel(job_id)
    commands = http.post("/v1/agent/commands", json={"wait_s": 20}, headers=headers).json()["commands"]
    assert [command["type"] for command in commands] == ["stop-attempt"]


def say(http: httpx.Client, credential: str, attempt_id: str, offset: int, text: str) -> None:
    chunk = {"attempt_id": attempt_id, "epoch": 1, "offset": offset, "text": text}
    http.post("/v1/agent/logs", json=chunk, headers={"Authorization": f"Bearer {credential}"}).raise_for_status()
