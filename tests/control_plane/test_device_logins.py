"""Commands are let in by a person in a browser: who may, what they get, how long, and what ends it."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.api.access import DASHBOARD_HEADER
from godwit.control_plane.login.claims import Person
from godwit.control_plane.services import device_logins
from godwit.control_plane.services.device_logins import INTERVAL_S, LETTERS, LOGIN_S, OF_SOURCE_MAX, WAITS_S
from godwit.control_plane.services.sessions import opened
from godwit.control_plane.services.users import arrive
from godwit.control_plane.store import users as people
from godwit.domain.access import Role
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from tests.control_plane.apis import TOKEN, client_of
from tests.control_plane.test_tokens import browser, made
from tests.control_plane.world import World

FROM_DASHBOARD = {DASHBOARD_HEADER: "1"}


class Desk:
    """A control plane, a browser in which an administrator's token is logged in, and a command without any."""

    def __init__(self, world: World) -> None:
        self.world, self.admin = world, client_of(world)
        self.command, self.chrome = browser(self.admin), browser(self.admin)
        self.chrome.post("/v1/sessions", json={"token": TOKEN}, headers=FROM_DASHBOARD)

    def begin(self) -> dict[str, Any]:
        asked = self.command.post("/v1/login/codes", json={"client": "godwit on laptop"})
        assert asked.status_code == 201, asked.text
        return dict(asked.json())

    def poll(self, begun: dict[str, Any], after_s: float = INTERVAL_S) -> dict[str, Any]:
        self.world.clock.advance(after_s)
        answer = self.command.post("/v1/login/tokens", json={"device_code": begun["device_code"]})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def decide(self, code: str, verb: str = "approve", by: TestClient | None = None) -> int:
        return (by or self.chrome).post(f"/v1/login/codes/{code}/{verb}", headers=FROM_DASHBOARD).status_code

    def who(self, answer: dict[str, Any]) -> tuple[int, str]:
        said = self.command.get("/v1/sessions/current", headers={"Authorization": f"Bearer {answer['secret']}"})
        return said.status_code, said.json().get("actor", said.json().get("detail"))

    def person(self, role: Role = Role.MEMBER) -> tuple[TestClient, str]:
        """A browser in which a person is logged in, and that one's id."""
        context = self.world.context
        with context.db.write() as tx:
            caller = arrive(context, tx, Person("https://id", "s", "ann", "", role), context.now())
            _, secret = opened(context, tx, caller, context.now())
        chrome = browser(self.admin)
        chrome.cookies.set("godwit_session", secret)
        return chrome, str(caller.user_id)


@pytest.fixture
def desk(embedded: World) -> Desk:
    return Desk(embedded)


def test_a_command_waits_until_a_person_lets_it_in_and_gets_its_token_once(desk: Desk) -> None:
    chrome, _ = desk.person()
    begun = desk.begin()
    assert begun["path"] == f"/ui/device?user_code={begun['user_code']}"
    assert desk.poll(begun)["state"] == "waiting"
    shown = chrome.get(f"/v1/login/codes/{begun['user_code'].lower().replace('-', '')}").json()
    assert (shown["client"], shown["source"]) == ("godwit on laptop", "testclient")
    assert desk.decide(begun["user_code"], by=chrome) == 200
    granted = desk.poll(begun)
    assert (granted["state"], granted["actor"]) == ("granted", "ann")
    assert granted["expires_at"] == desk.world.clock.now() + LOGIN_S
    assert desk.who(granted) == (200, "ann")
    assert desk.poll(begun)["state"] == "expired", "its text is given once"


def test_a_command_that_is_not_let_in_is_told_so(desk: Desk) -> None:
    begun = desk.begin()
    assert desk.decide(begun["user_code"], "deny") == 200
    assert desk.poll(begun)["state"] == "denied"
    assert desk.decide(begun["user_code"]) == 404, "decided is decided"


def test_a_code_has_an_end(desk: Desk) -> None:
    begun = desk.begin()
    assert desk.poll(begun, WAITS_S)["state"] == "expired"
    assert desk.decide(begun["user_code"]) == 404
    assert desk.poll({"device_code": "made-up"})["state"] == "expired"


def test_who_asks_too_often_is_slowed_down(desk: Desk) -> None:
    begun = desk.begin()
    desk.poll(begun)
    slower = desk.poll(begun, 1.0)
    assert (slower["state"], slower["interval_s"]) == ("slow-down", INTERVAL_S + 5.0)
    assert desk.poll(begun, INTERVAL_S)["state"] == "slow-down"
    assert desk.poll(begun, 60.0)["state"] == "waiting"


def test_only_a_browsers_session_lets_a_command_in(desk: Desk) -> None:
    begun = desk.begin()
    assert desk.decide(begun["user_code"], by=desk.admin) == 409
    assert desk.decide(begun["user_code"], by=desk.command) == 401
    assert desk.chrome.post(f"/v1/login/codes/{begun['user_code']}/approve").status_code == 403, "another site's page"
    assert desk.poll(begun)["state"] == "waiting"


def test_what_a_token_let_in_has_no_more_than_it_and_ends_with_it(desk: Desk) -> None:
    ci = made(desk.admin, "ci", "viewer", scopes=["jobs"], expires_in_s=3600)
    chrome = browser(desk.admin)
    chrome.post("/v1/sessions", json={"token": ci["secret"]}, headers=FROM_DASHBOARD)
    begun = desk.begin()
    assert desk.decide(begun["user_code"], by=chrome) == 200
    granted = desk.poll(begun)
    assert granted["expires_at"] == ci["expires_at"]
    (row,) = [row for row in desk.admin.get("/v1/tokens").json()["items"] if row["parent_id"] == ci["id"]]
    assert (row["role"], row["scopes"], row["name"]) == ("viewer", ["jobs"], "ci")
    desk.admin.delete(f"/v1/tokens/{ci['id']}")
    assert desk.who(granted) == (401, "the login of ci was revoked; log in again: `godwit login`")


def test_a_persons_command_has_the_role_that_the_person_has_now(desk: Desk) -> None:
    chrome, user_id = desk.person(Role.ADMIN)
    begun = desk.begin()
    desk.decide(begun["user_code"], by=chrome)
    bearer = {"Authorization": f"Bearer {desk.poll(begun)['secret']}"}
    assert desk.command.get("/v1/tokens", headers=bearer).status_code == 200
    desk.person(Role.VIEWER)
    assert desk.command.get("/v1/tokens", headers=bearer).status_code == 403
    desk.admin.post(f"/v1/users/{user_id}/disable")
    assert desk.command.get("/v1/jobs", headers=bearer).status_code == 401


def test_who_is_disabled_between_yes_and_the_next_question_lets_nobody_in(desk: Desk) -> None:
    chrome, user_id = desk.person()
    begun = desk.begin()
    desk.decide(begun["user_code"], by=chrome)
    desk.admin.post(f"/v1/users/{user_id}/disable")
    assert desk.poll(begun)["state"] in {"expired", "denied"}


def test_logging_out_ends_the_commands_token_and_no_other(desk: Desk) -> None:
    begun = desk.begin()
    desk.decide(begun["user_code"])
    granted = desk.poll(begun)
    bearer = {"Authorization": f"Bearer {granted['secret']}"}
    assert desk.command.delete("/v1/sessions/current", headers=bearer).status_code == 204
    assert desk.who(granted)[0] == 401
    assert desk.admin.delete("/v1/sessions/current").status_code == 204
    assert desk.admin.get("/v1/jobs").status_code == 200, "a token that somebody made is left as it is"


def test_no_code_lies_in_the_database_as_the_command_knows_it(desk: Desk) -> None:
    begun = desk.begin()
    with desk.world.db.read() as conn:
        held = str(conn.execute(select(people.device_logins)).all())
    assert begun["user_code"] in held
    assert begun["device_code"] not in held


def test_only_so_many_wait_at_once(desk: Desk) -> None:
    for _ in range(OF_SOURCE_MAX):
        device_logins.begin(desk.world.context, "x", "testclient")
    assert desk.command.post("/v1/login/codes", json={"client": "x"}).status_code == 409
    desk.world.clock.advance(WAITS_S)
    desk.begin()


@given(st.text(alphabet=LETTERS, min_size=8, max_size=8), st.sampled_from(["{}-{}", "{}{}", " {} {} "]))
def test_a_code_is_read_however_people_write_it(letters: str, shape: str) -> None:
    code = f"{letters[:4]}-{letters[4:]}"
    assert device_logins.normal(shape.format(letters[:4], letters[4:]).lower()) == code
