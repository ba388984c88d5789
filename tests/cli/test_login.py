"""`godwit login`, `logout`, `whoami` and `users` against a scripted control plane."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from godwit.cli import console, logins
from godwit.cli.client import ControlPlane
from godwit.cli.connection import Connection

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, page, problem

URL = "https://godwit.test"
CODES, TOKENS, HERE = "/v1/login/codes", "/v1/login/tokens", "/v1/sessions/current"
BEGUN = {
    "device_code": "gw_device", "user_code": "BCDF-GHJK", "path": "/ui/device?user_code=BCDF-GHJK", "expires_at": AT,
    "interval_s": 3.0,
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GODWIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GODWIT_TOKEN", raising=False)
    return tmp_path / "home"


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it waited each time: it does not really."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def plane(scripted: ScriptedControlPlane, monkeypatch: pytest.MonkeyPatch) -> ScriptedControlPlane:
    """The scripted control plane at any address, with the token that is sent to it."""

    def elsewhere(url: str, token: str = "") -> ControlPlane:
        return ControlPlane(Connection(url, token), httpx.MockTransport(scripted.answer), pause=lambda _s: None)

    monkeypatch.setattr(console, "elsewhere", elsewhere)
    scripted.on("POST", CODES, BEGUN, status=201)
    return scripted


def answering(plane: ScriptedControlPlane, *answers: dict[str, object] | Exception) -> None:
    """What the command is told each time that it asks; an exception is a broken line."""
    left: Iterator[dict[str, object] | Exception] = iter(answers)

    def answer(_request: httpx.Request) -> httpx.Response:
        said = next(left)
        if isinstance(said, Exception):
            raise said
        return httpx.Response(200, json={"interval_s": 3.0, **said})

    plane.routes["POST", TOKENS] = answer


GRANTED: dict[str, object] = {"state": "granted", "secret": "gw_mine", "actor": "ann@example.com", "expires_at": AT}


def test_it_shows_address_and_code_and_keeps_the_token_once_somebody_confirms(
    plane: ScriptedControlPlane, godwit: Godwit, home: Path, waited: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    slower: dict[str, object] = {"state": "slow-down", "interval_s": 8.0}
    answering(plane, {"state": "waiting"}, slower, httpx.ConnectError("down"), GRANTED)
    assert godwit("login", f"{URL}/") == 0
    said = capsys.readouterr()
    assert said.out == f"{URL}/ui/device?user_code=BCDF-GHJK\n"
    assert "BCDF-GHJK" in said.err
    assert "ann@example.com" in said.err
    assert "gw_mine" not in said.out + said.err
    assert waited == [3.0, 3.0, 8.0, 16.0]
    assert (logins.read(home).current, logins.read(home).known[URL].token) == (URL, "gw_mine")
    assert "authorization" not in plane.asked[0].headers


@pytest.mark.parametrize("state", ["denied", "expired"])
def test_who_is_not_let_in_keeps_nothing(
    plane: ScriptedControlPlane, godwit: Godwit, home: Path, waited: list[float], state: str
) -> None:
    answering(plane, {"state": state})
    assert godwit("login", URL) == 4
    assert not (home / logins.FILE).exists()


@pytest.mark.parametrize(
    "url", ["godwit.test", "ftp://godwit.test", "https://u:p@godwit.test", "https://godwit.test/x"]
)
def test_what_is_no_address_is_refused_before_anything_is_asked(
    plane: ScriptedControlPlane, godwit: Godwit, home: Path, url: str
) -> None:
    assert godwit("login", url) == 2
    assert plane.asked == []


def test_without_tls_one_is_warned(
    plane: ScriptedControlPlane, godwit: Godwit, home: Path, waited: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    answering(plane, GRANTED, GRANTED)
    assert godwit("login", "http://godwit.test") == 0
    assert "TLS" in capsys.readouterr().err
    assert godwit("login", "http://127.0.0.1:7461") == 0
    assert "TLS" not in capsys.readouterr().err


def _logged_in(home: Path) -> None:
    logins.write(home, logins.Logins().having(URL, logins.Login("gw_mine", "ann", None)))


def test_logging_out_ends_the_token_there_and_here(plane: ScriptedControlPlane, godwit: Godwit, home: Path) -> None:
    _logged_in(home)
    plane.routes["DELETE", HERE] = lambda _request: httpx.Response(204)
    assert godwit("logout") == 0
    assert plane.asked[-1].headers["authorization"] == "Bearer gw_mine"
    assert logins.read(home) == logins.Logins()
    assert godwit("logout") == 3


def test_a_login_that_was_over_there_is_removed_here(plane: ScriptedControlPlane, godwit: Godwit, home: Path) -> None:
    _logged_in(home)
    plane.on("DELETE", HERE, problem("unauthenticated", "it was revoked", 401), status=401)
    assert godwit("logout", URL) == 0
    assert logins.read(home).known == {}


def test_one_is_told_who_one_is(
    plane: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    who = {"actor": "ann", "role": "member", "project": "vision", "expires_at": None, "is_session": False}
    plane.on("GET", HERE, who | {"scopes": ["jobs"], "is_person": True})
    assert godwit("whoami") == 0
    assert capsys.readouterr().out.split() == [
        "ann", "at", "http://control.test", "role", "member", "project", "vision", "scopes", "jobs", "ends", "never",
    ]  # fmt: skip
    assert godwit("whoami", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["actor"] == "ann"


def test_people_are_listed_and_kept_out(
    plane: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    ann = {
        "id": "user-1", "name": "ann@example.com", "email": "ann@example.com", "issuer": "https://id.test",
        "role": "member", "project": None, "created_at": AT, "last_login_at": AT, "disabled_at": None,
    }  # fmt: skip
    plane.on("GET", "/v1/users", page(ann, ann | {"id": "user-2", "disabled_at": AT}))
    assert godwit("users") == 0
    shown = capsys.readouterr().out
    assert "disabled" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80
    plane.on("POST", "/v1/users/user-1/disable", ann)
    assert godwit("users", "disable", "user-1") == 0
    plane.on("POST", "/v1/users/user-1/enable", ann)
    assert godwit("users", "enable", "user-1") == 0
