"""`godwit notify`: who is told, whether it arrives, and another chance."""

import pytest

from tests.cli.scripted import Godwit, ScriptedControlPlane

OPS = {
    "name": "ops", "kind": "slack", "host": "hooks.example", "topics": ["incidents"], "projects": [], "signed": False,
    "pending": 3, "given_up": 1, "detail": "HTTP 503",
}  # fmt: skip


def test_receivers_are_listed_with_what_is_owed(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/notifications", {"items": [OPS], "next_cursor": None})
    assert godwit("notify") == 0
    told = capsys.readouterr().out
    assert "hooks.example" in told
    assert "HTTP 503" in told


def test_a_trial_fails_where_one_message_does_not_arrive(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/notifications", {"items": [OPS, OPS | {"name": "ci"}], "next_cursor": None})
    for name, delivered in (("ops", True), ("ci", False)):
        answer = {"target": name, "delivered": delivered, "detail": "HTTP 200" if delivered else "HTTP 404"}
        scripted.on("POST", f"/v1/notifications/{name}/test", answer)
    assert godwit("notify", "test", "ops") == 0
    assert godwit("notify", "test") == 1
    assert "ci: did not arrive (HTTP 404)" in capsys.readouterr().out


def test_a_trial_without_receivers_says_where_they_are_named(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/notifications", {"items": [], "next_cursor": None})
    assert godwit("notify", "test") == 1
    assert "config.yaml" in capsys.readouterr().err


def test_what_was_given_up_is_sent_again(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/notifications/ops/resend", {"target": "ops", "count": 4})
    assert godwit("notify", "resend", "ops") == 0
    assert "4 messages are owed to ops again" in capsys.readouterr().err
