"""`godwit secrets`: values go in by a file or standard input, over TLS, and never come out."""

import io
import json
import sys
from pathlib import Path

import pytest
from godwit.cli import console
from godwit.cli.client import ControlPlane
from godwit.cli.connection import Connection
from godwit.cli.exits import ExitCode

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, page

AT_ALL = "/v1/projects/vision/secrets"
SECRET = {"name": "hf-token", "version": 3, "versions": 2, "created_at": AT, "created_by": "anna"}


@pytest.fixture(autouse=True)
def over_tls(scripted: ScriptedControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted control plane, under an address that may take secrets."""

    def client() -> ControlPlane:
        found = scripted.client()
        found.url = "https://control.test"
        return found

    monkeypatch.setattr(console, "control_plane", client)


@pytest.mark.parametrize(
    ("written", "sent"), [(b"hunter22\n", "hunter22"), (b"two\nlines\r\n", "two\nlines"), (b" x ", " x ")]
)
def test_a_value_is_taken_from_standard_input_or_a_file_without_its_last_line_end(
    written: bytes,
    sent: str,
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    scripted.on("POST", f"{AT_ALL}/hf-token/versions", SECRET, 201)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(written)))
    assert godwit("secrets", "set", "hf-token", "--project", "vision") == ExitCode.OK
    (tmp_path / "value").write_bytes(written)
    assert godwit("secrets", "set", "hf-token", "--project", "vision", "--file", str(tmp_path / "value")) == ExitCode.OK
    assert [json.loads(request.content) for request in scripted.asked] == [{"value": sent}] * 2


def test_a_value_does_not_go_over_plain_http(
    scripted: ScriptedControlPlane, godwit: Godwit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "control_plane", lambda: ControlPlane(Connection("http://10.0.0.1:7461", "t")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hunter22")))
    assert godwit("secrets", "set", "hf-token") == ExitCode.USAGE
    assert "in the clear" in capsys.readouterr().err
    assert scripted.asked == []


@pytest.mark.parametrize("written", [b"", b"\n", b"\xff\xfe", b"x" * 32_769])
def test_what_no_variable_holds_is_refused_before_it_is_sent(
    written: bytes, scripted: ScriptedControlPlane, godwit: Godwit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(written)))
    assert godwit("secrets", "set", "hf-token") == ExitCode.USAGE
    assert scripted.asked == []


@pytest.mark.parametrize(
    ("name", "told"),
    [("MYSECRET", "did you mean mysecret?"), ("hf_token", "did you mean hf-token?"), ("x" * 64, "at most 63"),
     ("-", "a-z, 0-9 and hyphens"), ("hf-token\n", "a-z, 0-9 and hyphens")],
)  # fmt: skip
def test_what_is_no_name_of_a_secret_is_told_in_words_before_its_value_is_asked_for(
    name: str,
    told: str,
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hunter22")))
    assert godwit("secrets", "set", name) == ExitCode.USAGE
    assert told in capsys.readouterr().err
    assert sys.stdin.read() == "hunter22"
    assert scripted.asked == []


def test_lists_fit_eighty_columns_and_a_version_tells_who_has_it(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", AT_ALL, page(SECRET | {"name": "n" * 63, "created_by": "b" * 64}, SECRET))
    version = {"version": 3, "created_at": AT, "created_by": "anna", "attempts": ["att-1", "att-2"]}
    scripted.on("GET", f"{AT_ALL}/hf-token/versions", page(version))
    assert godwit("secrets", "--project", "vision") == ExitCode.OK
    assert godwit("secrets", "list", "--project", "vision") == ExitCode.OK
    assert godwit("secrets", "versions", "hf-token", "--project", "vision") == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "att-1, att-2" in lines[-1]


def test_one_version_or_all_of_them_are_deleted(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    scripted.on("DELETE", f"{AT_ALL}/hf-token", "", 204)
    scripted.on("DELETE", f"{AT_ALL}/hf-token/versions/2", "", 204)
    assert godwit("secrets", "delete", "hf-token", "--project", "vision", "--version", "2") == ExitCode.OK
    assert godwit("secrets", "delete", "hf-token", "--project", "vision") == ExitCode.OK
    assert scripted.paths() == [f"DELETE {AT_ALL}/hf-token/versions/2", f"DELETE {AT_ALL}/hf-token"]
