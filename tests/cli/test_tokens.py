"""`godwit tokens` and `godwit dashboard` against a scripted control plane."""

import json
import time
import webbrowser

import pytest
from godwit.cli import output

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, page


def token(**changes: object) -> dict[str, object]:
    """A TokenView as JSON."""
    return {
        "id": "token-1", "name": "ci", "role": "member", "project": None, "created_at": AT, "expires_at": None,
        "used_at": None, "revoked_at": None, **changes,
    }  # fmt: skip


def test_a_token_is_printed_once_and_nothing_else_is(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/tokens", token(secret="gw_secret"), status=201)
    assert godwit("tokens", "create", "ci", "--role", "member", "--project", "vision", "--expires", "90d") == 0
    assert capsys.readouterr().out == "gw_secret\n"
    assert json.loads(scripted.asked[-1].content) == {
        "name": "ci", "role": "member", "project": "vision", "expires_in_s": 90 * 86_400.0,
    }  # fmt: skip


def test_tokens_are_listed_with_what_ended_them(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = [token(id="token-2", expires_at=1.0), token(id="token-3", revoked_at=AT), token(id="token-4", project="a")]
    scripted.on("GET", "/v1/tokens", page(token(), *ended))
    assert godwit("tokens") == 0
    shown = capsys.readouterr().out
    for word in ("never", "expired", "revoked", "member"):
        assert word in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_both_ways_of_listing_say_the_same_and_tell_of_what_ends_soon(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    soon = token(id="token-2", name="soon", expires_at=time.time() + 86_400, scopes=["jobs", "metrics"])
    scripted.on("GET", "/v1/tokens", page(token(), soon, token(id="token-3", expires_at=1.0)))
    assert godwit("tokens") == 0
    bare = capsys.readouterr()
    assert godwit("tokens", "list") == 0
    assert capsys.readouterr().out == bare.out
    assert "godwit tokens rotate token-2" in bare.err
    assert "token-3" not in bare.err
    assert godwit("keys", "list") == 3, "asked of this script, which has none"


def test_a_token_is_narrowed_to_scopes(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/tokens", token(secret="gw_secret", scopes=["jobs", "services"]), status=201)
    assert godwit("tokens", "create", "ci", "--role", "member", "--scope", "jobs, services") == 0
    assert json.loads(scripted.asked[-1].content)["scopes"] == ["jobs", "services"]
    assert godwit("tokens", "create", "ci", "--role", "member", "--scope", "all") == 2
    assert "jobs, services, gateway" in capsys.readouterr().err


def test_a_token_gets_another_text_which_is_printed_once(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/tokens/token-1/rotate", token(id="token-2", secret="gw_new"), status=201)
    assert godwit("tokens", "rotate", "token-1", "--overlap", "12h") == 0
    assert capsys.readouterr().out == "gw_new\n"
    assert json.loads(scripted.asked[-1].content) == {"overlap_s": 12 * 3600}
    assert godwit("tokens", "rotate", "token-1", "--overlap", "0") == 0
    assert json.loads(scripted.asked[-1].content) == {"overlap_s": 0}
    assert godwit("tokens", "rotate", "token-1", "--overlap", "later") == 2


def test_a_token_is_revoked_by_its_id(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    scripted.on("DELETE", "/v1/tokens/token-1", token(revoked_at=AT))
    assert godwit("tokens", "revoke", "token-1") == 0


def test_a_duration_that_cannot_be_read_makes_no_token(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    assert godwit("tokens", "create", "ci", "--role", "member", "--expires", "soon") == 2
    assert scripted.asked == []


def test_the_dashboards_address_holds_a_code_that_opens_it_once(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.on("POST", "/v1/sessions/codes", {"code": "x", "path": "/ui/?code=x", "expires_at": AT}, status=201)
    opened: list[str] = []

    def browse(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    assert godwit("dashboard") == 0
    assert godwit("dashboard", "--no-open") == 0
    assert capsys.readouterr().out == "http://control.test/ui/?code=x\n" * 2
    assert opened == ["http://control.test/ui/?code=x"]
