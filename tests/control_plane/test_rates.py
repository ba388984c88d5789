"""How often one caller may ask: never more than the rate and the burst, whatever the clock does, in bounded memory."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane import rates, settings
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.limiting import Limiting
from godwit.control_plane.api.state import State
from godwit.control_plane.rates import Buckets, Limits, Rate
from godwit.control_plane.services import tokens
from godwit.domain.access import Role
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.access import TokenWanted
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.control_plane.apis import accounts_of
from tests.control_plane.world import World

RATES = st.builds(Rate, st.floats(0.1, 1_000), st.integers(1, 50))
STEPS = st.lists(st.floats(-5, 5), max_size=80)


@given(RATES, STEPS)
def test_no_more_is_let_through_than_the_burst_and_what_the_time_gives(rate: Rate, steps: list[float]) -> None:
    buckets, now, newest = Buckets(rate), 0.0, 0.0
    let = int(buckets.take("a", now) == 0.0)
    for step in steps:
        now += step
        newest = max(newest, now)
        let += buckets.take("a", now) == 0.0
    assert let <= rate.burst + newest * rate.per_s + 1e-6


@given(RATES, st.integers(1, 60))
def test_who_waits_as_long_as_told_is_let_through(rate: Rate, asks: int) -> None:
    buckets, now = Buckets(rate), 0.0
    for _ in range(asks):
        pause_s = buckets.take("a", now)
        if pause_s > 0.0:
            now += pause_s + 1e-9
            assert buckets.take("a", now) == 0.0


def test_one_caller_takes_nothing_from_another() -> None:
    buckets = Buckets(Rate(1.0, 1))
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("a", 0.0) > 0.0
    assert buckets.take("b", 0.0) == 0.0


def test_strangers_without_end_fill_no_memory() -> None:
    buckets = Buckets(Rate(1.0, 1), kept_max=100)
    for number in range(1_000):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 100


def test_no_rate_is_no_limit() -> None:
    buckets = Buckets(rates.UNLIMITED)
    assert [buckets.take("a", 0.0) for _ in range(100)] == [0.0] * 100
    assert len(buckets) == 0


@pytest.mark.parametrize(
    ("section", "people"),
    [
        (None, Rate(100.0, 1_000)),
        ({"requests_per_s": 5}, Rate(5.0, 50)),
        ({"requests_per_s": 0}, Rate(0.0, 1)),
        ({"requests_per_s": 2.5, "burst": 7}, Rate(2.5, 7)),
    ],
)
def test_the_settings_say_how_many(section: object, people: Rate) -> None:
    assert rates.read(section, Path("config.yaml")).people == people


@pytest.mark.parametrize("section", [3, {"per_s": 1}, {"burst": -1}, {"burst": True}, {"requests_per_s": "many"}])
def test_what_is_no_limit_is_refused_with_its_place(section: object) -> None:
    with pytest.raises(InvalidRequest, match=r"config\.yaml.*limits"):
        rates.read(section, Path("config.yaml"))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def _answer(request: Request) -> Response:
    known = request.headers.get("authorization", "") in {"", "Bearer good", "Bearer other"}
    return Response(status_code=200 if known else 401)


def client_of(limits: Limits, clock: Clock) -> TestClient:
    app: ASGIApp = Starlette(routes=[Route("/{path:path}", _answer, methods=["GET", "POST"])])
    return TestClient(Limiting(app, limits, clock))


def asked(client: TestClient, token: str, times: int, path: str = "/v1/jobs") -> list[int]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return [client.get(path, headers=headers).status_code for _ in range(times)]


def test_a_token_that_asks_too_often_is_told_how_long_to_wait_and_no_other_is() -> None:
    clock = Clock()
    client = client_of(Limits(Rate(0.5, 3), Rate(1, 1), Rate(1, 1)), clock)
    assert asked(client, "good", 4) == [200, 200, 200, 429]
    refused = client.get("/v1/jobs", headers={"Authorization": "Bearer good"})
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "too-many-requests"
    assert asked(client, "other", 1) == [200]
    clock.at += 2.0
    assert asked(client, "good", 2) == [200, 429]


def test_agents_have_a_limit_of_their_own() -> None:
    client = client_of(Limits(Rate(1, 1), Rate(1, 3), Rate(1, 9)), Clock())
    assert asked(client, "good", 2) == [200, 429]
    assert asked(client, "good", 4, "/v1/agent/heartbeat") == [200, 200, 200, 429]


def test_a_session_has_its_bucket_too() -> None:
    client = client_of(Limits(Rate(1, 2), Rate(1, 1), Rate(1, 1)), Clock())
    client.cookies.set("godwit_session", "one")
    assert asked(client, "", 3) == [200, 200, 429]
    client.cookies.set("godwit_session", "two")
    assert asked(client, "", 1) == [200]


def test_guessing_ends_after_a_few_tries_and_keeps_out_nobody_who_is_known() -> None:
    clock = Clock()
    client = client_of(Limits(Rate(100, 100), Rate(100, 100), Rate(1, 3)), clock)
    assert asked(client, "good", 1) == [200]
    assert [asked(client, f"guess-{number}", 1)[0] for number in range(5)] == [401, 401, 401, 429, 429]
    assert asked(client, "good", 1) == [200]
    assert asked(client, "other", 1) == [429], "it was never seen here, and could be another guess"
    clock.at += 1.0
    assert asked(client, "other", 1) == [200]


def test_a_token_that_was_revoked_counts_as_a_guess_again() -> None:
    client = client_of(Limits(Rate(100, 100), Rate(100, 100), Rate(1, 2)), Clock())
    assert asked(client, "bad", 4) == [401, 401, 429, 429]


def test_who_guesses_at_one_door_keeps_nobody_out_at_the_other() -> None:
    client = client_of(Limits(Rate(100, 100), Rate(100, 100), Rate(1, 2)), Clock())
    assert asked(client, "bad", 3) == [401, 401, 429]
    assert asked(client, "other", 1, "/v1/agent/heartbeat") == [200]


def test_the_home_says_how_many_and_a_home_that_says_nothing_has_limits(tmp_path: Path) -> None:
    assert settings.read(tmp_path).limits == Limits()
    (tmp_path / "config.yaml").write_text("limits: {requests_per_s: 7}")
    assert settings.read(tmp_path).limits.people == Rate(7.0, 70)


def test_the_application_refuses_a_token_that_asks_too_often_and_no_other(embedded: World) -> None:
    """The wrapper is tried above; here, that the application which serves has it on, with the limits it was given."""
    world, limits = embedded, Limits(Rate(0.01, 3), Rate(0.01, 3), Rate(0.01, 3))
    wild, calm = (
        tokens.make(world.context, TokenWanted(name=name, role=Role.VIEWER)).secret for name in ("wild", "calm")
    )
    client = TestClient(
        create_app(State(world.context, world.shelf, world.logs, accounts_of(world), dict, limits=limits))
    )
    assert asked(client, wild, 4) == [200, 200, 200, 429]
    refused = client.get("/v1/jobs", headers={"Authorization": f"Bearer {wild}"})
    assert 1 <= int(refused.headers["retry-after"]) <= 100
    assert refused.json()["code"] == "too-many-requests"
    assert asked(client, calm, 3) == [200, 200, 200]
