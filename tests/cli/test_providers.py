"""`godwit providers add`: credentials are asked for without an echo, and go nowhere but to the control plane."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.scripted import Godwit, ScriptedControlPlane, problem

LAMBDA = {
    "kind": "lambda",
    "title": "Lambda Cloud",
    "options": {"url": "another"},
    "secrets": {"api_key": "the console"},
}
VIEW = {"name": "mine", "reachable": True, "offers": 0, "nodes": 0, "last_contact_at": None, "detail": ""}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody types a key."""
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-typed\n"))


@pytest.mark.usefixtures("typed")
def test_adding_sends_what_was_typed_and_shows_none_of_it(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/provider-kinds", {"items": [LAMBDA], "next_cursor": None})
    scripted.on("POST", "/v1/providers", VIEW, status=201)
    assert (
        godwit("providers", "add", "lambda", "--name", "mine", "--set", "url=http://x", "--set", "regions=[a, b]") == 0
    )
    sent = json.loads(scripted.asked[-1].content)
    assert sent["secrets"] == {"api_key": "sk-typed"}
    assert (sent["name"], sent["options"]) == ("mine", {"url": "http://x", "regions": ["a", "b"]})
    shown = capsys.readouterr()
    assert "sk-typed" not in shown.out + shown.err


def test_an_unknown_kind_lists_the_known_ones(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/provider-kinds", {"items": [LAMBDA], "next_cursor": None})
    assert godwit("providers", "add", "lamda") == 2
    assert "kinds: lambda" in capsys.readouterr().err


@pytest.mark.usefixtures("typed")
def test_a_rejected_key_says_so_and_exits_with_invalid_input(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/provider-kinds", {"items": [LAMBDA], "next_cursor": None})
    scripted.on("POST", "/v1/providers", problem("invalid-request", "lambda: the key is wrong", 422), status=422)
    assert godwit("providers", "add", "lambda") == 2
    assert "the key is wrong" in capsys.readouterr().err


def test_a_check_of_all_fails_when_one_does(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/providers", {"items": [VIEW, {**VIEW, "name": "away"}], "next_cursor": None})
    well = {"name": "mine", "reachable": True, "account": "team", "permitted": ["read"], "quotas": [], "detail": ""}
    quota = {"name": "gpus", "limit": 8.0, "left": 3.0}
    scripted.on("POST", "/v1/providers/mine/check", {**well, "quotas": [quota]})
    scripted.on("POST", "/v1/providers/away/check", {**well, "name": "away", "reachable": False, "detail": "503"})
    assert godwit("providers", "check") == 1
    shown = capsys.readouterr().out
    assert "gpus 3" in shown
    assert "503" in shown
    assert godwit("providers", "check", "mine") == 0


def test_removing_forgets(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    scripted.on("DELETE", "/v1/providers/mine", "", status=204)
    assert godwit("providers", "remove", "mine") == 0
    assert scripted.paths() == ["DELETE /v1/providers/mine"]


def test_a_key_of_several_lines_comes_from_a_file(
    scripted: ScriptedControlPlane, godwit: Godwit, tmp_path: Path
) -> None:
    scripted.on("GET", "/v1/provider-kinds", {"items": [LAMBDA], "next_cursor": None})
    scripted.on("POST", "/v1/providers", VIEW, status=201)
    key = tmp_path / "key.pem"
    key.write_text("-----BEGIN-----\nabc\n-----END-----\n")
    assert godwit("providers", "add", "lambda", "--secret-file", f"api_key={key}") == 0
    assert json.loads(scripted.asked[-1].content)["secrets"] == {"api_key": key.read_text()}
    assert godwit("providers", "add", "lambda", "--secret-file", "api_key=/nowhere") == 2
