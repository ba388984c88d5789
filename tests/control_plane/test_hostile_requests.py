"""Names, queries and headers that nobody means well by, at every route: an answer, a refusal in words, and no crash."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.hints import Hints
from godwit.control_plane.store.database import Database, open_engine

from tests.control_plane.apis import client_of
from tests.control_plane.world import World

NAMES = ("a%00b", "%2e%2e%2f", "'%20OR%201=1--", "%F0%9F%92%A5", "%FF%FE", "a" * 3_000, "%0d%0aX:%20y", "-1")
QUERIES = (
    "limit=99999999999999999999", "limit=-1", "limit=NaN", "cursor=%00", "cursor=" + "9" * 400, "project=%00",
    "job=%00", "after=1e309", "limit=1&limit=2", "=&&=%FF", "state=" + "x" * 3_000,
)  # fmt: skip
HEADERS: tuple[dict[str, str | bytes], ...] = (
    {"Authorization": "Bearer " + "x" * 20_000}, {"Authorization": "Bearer"}, {"Authorization": b"Bearer \xff\xfe"},
    {"Authorization": "Basic YTpi"}, {"Cookie": "godwit_session=" + "y" * 10_000},
    {"Cookie": b"godwit_session=\xff; ;=;"}, {"Content-Type": "application/json; charset=\x7f"},
    {"Last-Event-ID": "9" * 5_000}, {"Idempotency-Key": "k" * 5_000}, {"Idempotency-Key": b"\xff\x01"},
    {"traceparent": "00-" + "f" * 400}, {"traceparent": b"\xff"}, {"If-None-Match": '"' + "e" * 5_000},
    {"Range": "bytes=0-18446744073709551616"}, {"Accept-Encoding": "gzip;q=nan"},
    {"Host": "elsewhere.example"}, {"X-Forwarded-For": "x" * 5_000}, {"X-Forwarded-Proto": "javascript"},
)  # fmt: skip


@pytest.fixture(scope="module")
def client(postgres_database_of_module: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The API over PostgreSQL, which takes less than SQLite does."""
    hints = Hints()
    world = World(
        Database(open_engine(postgres_database_of_module), hints.announce), hints, tmp_path_factory.mktemp("w")
    )
    yield client_of(world)
    world.db.close()


@pytest.fixture(scope="module")
def readings(client: TestClient) -> list[str]:
    """Every route that is read and whose answer ends."""
    described = client.get("/openapi.json").json()["paths"]
    return [path for path, methods in described.items() if "get" in methods and "stream" not in path]


def refused_in_words(client: TestClient, path: str, headers: dict[str, str | bytes] | None = None) -> str:
    """What is wrong with the answer; nothing for one that may be."""
    answer = client.get(path, headers=headers, follow_redirects=False)  # type: ignore[arg-type]
    if answer.status_code >= 500:
        return f"{path[:200]} {answer.status_code}"
    is_problem = answer.headers.get("content-type", "") == "application/problem+json"
    return "" if answer.status_code < 400 or is_problem else f"{path[:200]} is refused without a reason"


def test_no_name_breaks_a_route(client: TestClient, readings: list[str]) -> None:
    named = [path for path in readings if "{" in path]
    asked = [re.sub(r"\{\w+\}", name, path) for path in named for name in NAMES]
    assert [wrong for path in asked if (wrong := refused_in_words(client, path))] == []


def test_no_query_breaks_a_route(client: TestClient, readings: list[str]) -> None:
    asked = [f"{path}?{query}" for path in readings if "{" not in path for query in QUERIES]
    assert [wrong for path in asked if (wrong := refused_in_words(client, path))] == []


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/overview", "/v1/version", "/v1/sessions/current", "/ui/", "/metrics"]
)
def test_no_header_breaks_a_route(client: TestClient, path: str) -> None:
    wrong = [(headers, found) for headers in HEADERS if (found := refused_in_words(client, path, headers))]
    assert wrong == []
