"""The API keeps to its own description, whatever is sent to it; generated requests, always the same ones."""

from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import schemathesis
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State
from godwit.control_plane.context import Context
from godwit.control_plane.hints import Hints
from godwit.control_plane.store.database import Database, open_engine
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.control_plane.apis import TOKEN, app_of
from tests.control_plane.caring import opened
from tests.control_plane.world import World

EXAMPLES = 8 if settings.get_current_profile_name() == "same" else 100
"""Of each operation, with good and with bad input: few each time, many with `make explore`."""

BEYOND_SHAPES = [positive_data_acceptance]
"""A body of the right shape may still ask for what nobody sells."""

UNAIMED = ("POST /v1/jobs", "POST /v1/plans", "POST /v1/drills", "POST /v1/services")
"""Where a bad body arrives as it was made, and must be refused. Elsewhere some of it is aimed at what there is, and so
becomes good; and unknown query parameters are let pass everywhere, as proxies add them."""

NOT_CALLED = {
    "GET /v1/events/stream": "it does not end; test_streams reads it",
    "GET /v1/jobs/{job}/logs/stream": "it does not end while its job does not; test_streams reads it",
    "GET /v1/changes/stream": "it does not end; test_fleet_page reads it",
    "POST /v1/providers": "it would call a cloud; test_providers tries it with an emulated one",
}
"""What is described and left out here, and why. What is not described, as WebSockets cannot be, is in
`test_no_way_round.BESIDE`."""


@schemathesis.serializer("application/gzip")  # type: ignore[untyped-decorator]
def _packed(_context: Any, value: Any) -> bytes:
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode()


class Target:
    """An API over PostgreSQL, the stricter of the two databases, with a job that runs and an agent that runs it."""

    def __init__(self, url: str, folder: Path) -> None:
        hints = Hints()
        self.world = World(Database(open_engine(url), hints.announce), hints, folder)
        self.app = app_of(self.world)
        self.job_id, (self.agent,) = self.world.run()
        self.attempt_id = self.world.attempt(self.job_id).id
        self.agent.beat(self.agent.found("xid:79", gpu=0))
        self.incident_id = opened(self.world, self.agent.node_id, 0).id
        self._seqs = count(1_000)
        self.description = schemathesis.openapi.from_asgi("/openapi.json", self.app)

    def token_for(self, path: str) -> str:
        """The bearer token with which this route lets one in."""
        if path in {"/v1/agent/join", "/v1/agent/startup-failure"}:
            return self.world.join_token(self.agent.node_id)
        return self.agent.credential if path.startswith("/v1/agent/") else TOKEN

    def aim(self, case: Any) -> None:
        """Point some of the requests at what there is, or every answer would be that there is no such thing."""
        names = {"job": self.job_id, "node": self.agent.node_id, "incident": self.incident_id}
        for name, value in names.items():
            given = case.path_parameters.get(name)
            if isinstance(given, str) and len(given) % 2:
                case.path_parameters[name] = value
        if case.path == "/v1/routes" and isinstance(case.query, dict):
            case.query["wait_s"] = 0  # these are the newest routes already
        if isinstance(case.body, dict):
            self._aim_body(case.body)
            if case.path == "/v1/agent/commands":
                case.body["wait_s"] = 0  # the clock of this world stands still

    def _aim_body(self, body: dict[str, Any]) -> None:
        found = body.get("observations")
        for said in [body, *(found if isinstance(found, list) else [])]:
            if isinstance(said, dict) and isinstance(said.get("attempt_id"), str):
                said["attempt_id"], said["epoch"] = self.attempt_id, 1
            if isinstance(said, dict) and isinstance(said.get("seq"), int):
                said["seq"] = next(self._seqs)  # an observation is counted only if it is newer than all before


@pytest.fixture(scope="module")
def target(postgres_database_of_module: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One for all generated requests: what they leave behind is part of the trial."""
    found = Target(postgres_database_of_module, tmp_path_factory.mktemp("described"))
    yield found
    found.world.db.close()


@cache
def _described() -> dict[str, dict[str, Any]]:
    """Every operation of the description, by its method and path."""
    described = create_app(State(cast(Context, SimpleNamespace(db=None)), None, None, None, dict)).openapi()["paths"]  # type: ignore[arg-type]
    return {f"{method.upper()} {path}": of for path, methods in described.items() for method, of in methods.items()}


def _operations() -> list[tuple[str, GenerationMode]]:
    """Every operation that answers and ends, with good and with bad input where it takes any."""
    return [
        (name, mode)
        for name, operation in _described().items()
        for mode in GenerationMode
        if name not in NOT_CALLED
        and (mode is GenerationMode.POSITIVE or "parameters" in operation or "requestBody" in operation)
    ]


def test_nothing_is_left_out_without_a_name_and_a_reason() -> None:
    described = set(_described())
    assert set(NOT_CALLED) <= described, "what is left out is there"
    assert {name for name in described if name.endswith("/stream")} <= set(NOT_CALLED), "no call of it would end"
    assert {name for name, _ in _operations()} == described - set(NOT_CALLED)


@pytest.mark.parametrize(("operation", "mode"), _operations())
def test_every_answer_is_one_that_the_description_promises(
    operation: str, mode: GenerationMode, target: Target
) -> None:
    method, path = operation.split()
    cases = target.description[path][method].as_strategy(generation_mode=mode)

    @given(case=cases)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers(case: Any) -> None:
        target.aim(case)
        must_refuse = operation in UNAIMED and case.meta.is_negative_at(ParameterLocation.BODY)
        case.call_and_validate(
            headers={"Authorization": f"Bearer {target.token_for(path)}"},
            excluded_checks=BEYOND_SHAPES if must_refuse else [*BEYOND_SHAPES, negative_data_rejection],
        )

    answers()


def test_after_all_that_the_job_can_still_be_read(target: Target) -> None:
    """Whatever was said of it: a row that cannot be read stops the planner for everybody."""
    assert target.world.job(target.job_id).id == target.job_id
    target.world.plan()
