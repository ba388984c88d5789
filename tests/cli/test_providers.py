"""`godwit providers add`: credentials are asked for without an echo, and go nowhere but to the control plane."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, problem

LAMBDA = {
    "kind": "lambda",
    "title": "Lambda Cloud",
    "options": {"url": "another"},
    "secrets": {"api_key": "the console"},
}
CALLS = {"window_s": 900.0, "calls": 1_000, "errors": {}, "median_s": 0.12, "p99_s": 1.5}
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


TROUBLED = {
    **VIEW,
    "offers_at": AT,
    "offers_trouble": "mine answered 503: " + "maintenance " * 20,
    "offers_trouble_since": AT + 60,
    "foreign": 25,
    "foreign_ids": [f"i-{number:017}" for number in range(20)],
    "calls": {**CALLS, "calls": 1_002, "errors": {"RateLimited": 3, "ProviderUnavailable": 2}},
    "calls_by_method": {
        "instances": {**CALLS, "errors": {f"ErrorNumber{number}": 1_000 for number in range(9)}},
        "launch": {**CALLS, "calls": 2, "median_s": 41.0, "p99_s": 125.0},
    },
}


def test_one_provider_is_shown_with_its_trouble_its_foreign_instances_and_its_calls(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/providers/mine", TROUBLED)
    assert godwit("providers", "mine") == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 80
    for said in ("offers cannot be refreshed for", "503", "25 foreign instances", "i-00000000000000019", "5 more"):
        assert said in " ".join(shown.split()), said
    assert [line.split()[:4] for line in shown.splitlines()[-4:]] == [
        ["METHOD", "CALLS", "MEDIAN", "P99"],
        ["instances", "1000", "120ms", "1.5s"],
        ["launch", "2", "41s", "2m"],
        ["all", "1002", "120ms", "1.5s"],
    ]
    assert shown.splitlines()[-1].endswith("RateLimited 3, ProviderUnavailable 2")


def test_a_provider_in_no_trouble_is_shown_in_two_lines(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/providers/mine", VIEW)
    assert godwit("providers", "show", "mine") == 0
    assert capsys.readouterr().out.splitlines() == [
        "mine: reachable, last contact never",
        "0 offers, refreshed never; 0 nodes",
    ]


def test_programs_get_everything_of_one_provider(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/providers/mine", TROUBLED)
    assert godwit("providers", "mine", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == TROUBLED


def test_a_word_that_is_neither_a_command_nor_a_provider_exits_with_not_found(
    scripted: ScriptedControlPlane, godwit: Godwit
) -> None:
    assert godwit("providers", "chekc") == 3
    assert scripted.paths() == ["GET /v1/providers/chekc"]
    assert godwit("providers", "--nonsense") == 2


def test_trouble_with_offers_is_in_the_list(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/providers", {"items": [TROUBLED], "next_cursor": None})
    assert godwit("providers") == 0
    assert "mine answered 503" in capsys.readouterr().out
