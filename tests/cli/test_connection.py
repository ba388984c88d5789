"""Which control plane is asked, and that a token goes only where it belongs."""

import json
from pathlib import Path

import pytest
from godwit.cli import connection
from godwit.cli.exits import ExitCode, Failure


def _home(path: Path, url: str = "http://127.0.0.1:7461") -> Path:
    (path / "control_plane.json").write_text(json.dumps({"url": url, "pid": 1, "identity": "cp-1"}))
    (path / "token").write_text("home-token\n")
    return path


def test_the_home_gives_url_and_token(tmp_path: Path) -> None:
    found = connection.find(connection.settings({"GODWIT_HOME": str(_home(tmp_path))}))
    assert (found.url, found.token) == ("http://127.0.0.1:7461", "home-token")


def test_the_environment_wins_over_the_home(tmp_path: Path) -> None:
    environ = {"GODWIT_HOME": str(_home(tmp_path)), "GODWIT_URL": "https://far.test/", "GODWIT_TOKEN": "theirs"}
    found = connection.find(connection.settings(environ))
    assert (found.url, found.token) == ("https://far.test", "theirs")


def test_the_home_token_is_never_sent_elsewhere(tmp_path: Path) -> None:
    environ = {"GODWIT_HOME": str(_home(tmp_path)), "GODWIT_URL": "https://far.test"}
    with pytest.raises(Failure, match="set GODWIT_TOKEN") as caught:
        connection.find(connection.settings(environ))
    assert caught.value.code is ExitCode.UNREACHABLE


def test_without_a_control_plane_one_is_told_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="godwit up --detach"):
        connection.find(connection.settings({"GODWIT_HOME": str(tmp_path)}))


def test_a_token_is_not_in_what_gets_printed() -> None:
    assert "secret" not in repr(connection.Connection("http://x", "secret"))
    assert "secret" not in repr(connection.settings({"GODWIT_TOKEN": "secret"}))
