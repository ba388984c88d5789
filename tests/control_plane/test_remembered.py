"""Any order of calls: what was made is listed, what is gone is not found, refusals change nothing, and roles hold."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from godwit.control_plane.api import links
from godwit.control_plane.api.roles import RULES
from godwit.control_plane.hints import Hints
from godwit.control_plane.services import projects, tokens
from godwit.control_plane.store import tenancy
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.errors import Conflict
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RULE_MARKER, run_state_machine_as_test

from tests.control_plane.apis import app_of
from tests.control_plane.remembered import Remembered
from tests.control_plane.world import World

EVERY_TIME = settings.get_current_profile_name() == "same"
ORDERS = settings(
    max_examples=6 if EVERY_TIME else 300,
    stateful_step_count=25 if EVERY_TIME else 50,
    deadline=None,
    database=None,
    phases=[Phase.generate] if EVERY_TIME else list(Phase),  # making an order shorter takes minutes
    suppress_health_check=list(HealthCheck),
)
UNTIL_ONE_FAILS = settings(ORDERS, phases=[Phase.generate], max_examples=30)


@pytest.fixture
def remembered(sqlite_template: Path, tmp_path: Path) -> type[Remembered]:
    """A caller with a control plane of its own."""
    numbers = count()

    class Caller(Remembered):
        def make_world(self) -> World:
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            shutil.copy(sqlite_template, folder / "godwit.db")
            hints = Hints()
            world = World(Database(open_engine(f"sqlite:///{folder / 'godwit.db'}"), hints.announce), hints, folder)
            world.read_offers()
            return world

    return Caller


def only(machine: type[Remembered], *rules: str) -> type[Remembered]:
    """The same with these rules only: among all others what fails is found late."""
    known = {name for name, method in vars(Remembered).items() if hasattr(method, RULE_MARKER)}
    assert known > set(rules)
    return type("Only", (machine,), dict.fromkeys(known - set(rules)))


def test_whatever_is_called_in_whatever_order_the_api_knows_what_it_was_told(
    remembered: type[Remembered],
) -> None:
    run_state_machine_as_test(remembered, settings=ORDERS)


def test_a_change_that_a_refusal_left_behind_is_noticed(
    remembered: type[Remembered], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial can fail."""
    remove = tenancy.remove

    def too_soon(context: Any, name: str, actor: str) -> None:
        with context.db.write() as tx:
            remove(tx, name)
        raise Conflict(f"{name}, {actor}: not now")

    monkeypatch.setattr(projects, "remove", too_soon)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(only(remembered, "put_project", "remove_project"), settings=UNTIL_ONE_FAILS)


def test_a_token_that_lives_on_is_noticed(remembered: type[Remembered], monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise."""
    monkeypatch.setattr(tokens, "end", lambda *_: None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(only(remembered, "make_token", "revoke_token"), settings=UNTIL_ONE_FAILS)


def test_what_a_route_makes_leads_to_every_route_of_it(embedded: World) -> None:
    """For those who generate a client, or tests, from the description."""
    paths = app_of(embedded).openapi()["paths"]
    operations = {of["operationId"]: of for methods in paths.values() for of in methods.values()}
    for route, names in links.MAKES.items():
        method, path = route.lower().split()
        (found,) = (answer["links"] for answer in paths[path][method]["responses"].values() if "links" in answer)
        for link in found.values():
            wanted = {one["name"] for one in operations[link["operationId"]]["parameters"] if one["in"] == "path"}
            assert wanted == set(link["parameters"]) == set(names)
    followed = paths["/v1/jobs"]["post"]["responses"]["202"]["links"]
    beyond = {f"{m.upper()} {p}" for p, ms in paths.items() for m, of in ms.items() if of["operationId"] in followed}
    assert beyond == {route for route in RULES if route.split()[1].startswith("/v1/jobs/{job}")}
