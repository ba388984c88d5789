"""Which control plane is asked, and that a token goes only where it belongs."""

import json
import socket
from pathlib import Path

import pytest
from godwit.cli import connection, logins
from godwit.cli.exits import ExitCode, Failure
from godwit.cli.logins import Login

NOW = 1_790_000_000.0
FAR = "https://far.test"


def _home(path: Path, url: str = "http://127.0.0.1:7461", record: str = "control_plane.json") -> Path:
    (path / record).write_text(json.dumps({"url": url, "pid": 1, "identity": "cp-1"}))
    (path / "token").write_text("home-token\n")
    return path


def test_the_home_gives_url_and_token(tmp_path: Path) -> None:
    found = connection.find(connection.settings({"GODWIT_HOME": str(_home(tmp_path))}), NOW)
    assert (found.url, found.token) == ("http://127.0.0.1:7461", "home-token")


def test_the_environment_wins_over_the_home(tmp_path: Path) -> None:
    environ = {"GODWIT_HOME": str(_home(tmp_path)), "GODWIT_URL": "https://far.test/", "GODWIT_TOKEN": "theirs"}
    found = connection.find(connection.settings(environ), NOW)
    assert (found.url, found.token) == ("https://far.test", "theirs")


def test_the_home_token_is_never_sent_elsewhere(tmp_path: Path) -> None:
    environ = {"GODWIT_HOME": str(_home(tmp_path)), "GODWIT_URL": "https://far.test"}
    with pytest.raises(Failure, match="set GODWIT_TOKEN") as caught:
        connection.find(connection.settings(environ), NOW)
    assert caught.value.code is ExitCode.UNREACHABLE


def test_without_a_control_plane_one_is_told_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="godwit up --detach"):
        connection.find(connection.settings({"GODWIT_HOME": str(tmp_path)}), NOW)


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return _url(listener)


def test_a_home_whose_only_control_plane_has_a_name_gives_its_address(tmp_path: Path) -> None:
    _home(tmp_path, "http://127.0.0.1:7471", "control_plane.a.json")
    found = connection.find(connection.settings({"GODWIT_HOME": str(tmp_path)}), NOW)
    assert (found.url, found.token) == ("http://127.0.0.1:7471", "home-token")


def test_of_several_control_planes_the_first_that_listens_is_asked(tmp_path: Path) -> None:
    known = connection.settings({"GODWIT_HOME": str(tmp_path)})
    with socket.create_server(("127.0.0.1", 0)) as b, socket.create_server(("127.0.0.1", 0)) as c:
        _home(tmp_path, _url(c), "control_plane.c.json")
        _home(tmp_path, _url(b), "control_plane.b.json")
        _home(tmp_path, _closed(), "control_plane.a.json")
        assert connection.find(known, NOW).url == _url(b), "a was killed, and b comes before c"
        _home(tmp_path, _closed())
        assert connection.find(known, NOW).url == _url(b), "the one without a name has been killed, too"
        _home(tmp_path, _url(c))
        assert connection.find(known, NOW).url == _url(c), "one without a name comes first"


def test_where_none_of_several_listens_one_learns_of_the_first(tmp_path: Path) -> None:
    _home(tmp_path, first := _closed(), "control_plane.a.json")
    _home(tmp_path, _closed(), "control_plane.b.json")
    assert connection.find(connection.settings({"GODWIT_HOME": str(tmp_path)}), NOW).url == first


def test_the_home_token_is_good_at_each_control_plane_of_the_home(tmp_path: Path) -> None:
    _home(tmp_path, "http://127.0.0.1:7471", "control_plane.a.json")
    _home(tmp_path, "http://127.0.0.1:7472", "control_plane.b.json")
    environ = {"GODWIT_HOME": str(tmp_path), "GODWIT_URL": "http://127.0.0.1:7472"}
    found = connection.find(connection.settings(environ), NOW)
    assert (found.url, found.token) == ("http://127.0.0.1:7472", "home-token")


def test_a_token_is_not_in_what_gets_printed() -> None:
    assert "secret" not in repr(connection.Connection("http://x", "secret"))
    assert "secret" not in repr(connection.settings({"GODWIT_TOKEN": "secret"}))


def _logged_in(home: Path, expires_at: float | None = NOW + 1.0) -> Path:
    logins.write(home, logins.read(home).having(FAR, Login("of-the-login", "ann", expires_at)))
    return home


def test_commands_go_to_where_one_logged_in_last(tmp_path: Path) -> None:
    found = connection.find(connection.settings({"GODWIT_HOME": str(_logged_in(_home(tmp_path)))}), NOW)
    assert (found.url, found.token) == (FAR, "of-the-login")


def test_the_token_of_a_login_is_never_sent_elsewhere(tmp_path: Path) -> None:
    environ = {"GODWIT_HOME": str(_logged_in(tmp_path)), "GODWIT_URL": "https://another.test"}
    with pytest.raises(Failure, match=r"godwit login https://another\.test"):
        connection.find(connection.settings(environ), NOW)


def test_a_token_of_the_environment_without_an_address_is_the_homes_also_after_a_login(tmp_path: Path) -> None:
    environ = {"GODWIT_HOME": str(_logged_in(_home(tmp_path))), "GODWIT_TOKEN": "theirs"}
    found = connection.find(connection.settings(environ), NOW)
    assert (found.url, found.token) == ("http://127.0.0.1:7461", "theirs")


def test_a_login_that_is_over_says_how_to_begin_anew(tmp_path: Path) -> None:
    environ = {"GODWIT_HOME": str(_logged_in(tmp_path, NOW))}
    with pytest.raises(Failure, match=f"godwit login {FAR}"):
        connection.find(connection.settings(environ), NOW)


def test_after_logging_out_commands_go_to_the_home_again(tmp_path: Path) -> None:
    home = _logged_in(_home(tmp_path))
    logins.write(home, logins.read(home).without(FAR))
    assert connection.find(connection.settings({"GODWIT_HOME": str(home)}), NOW).token == "home-token"


def test_logins_lie_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    _logged_in(tmp_path / "new-home")
    kept = tmp_path / "new-home" / logins.FILE
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in kept.parent.iterdir()] == [logins.FILE], "nothing is left lying beside it"
    assert "of-the-login" not in repr(logins.read(kept.parent))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"current": "", "known": {"x": {"token": 1}}}'])
def test_a_file_of_logins_that_is_broken_is_told_of(tmp_path: Path, text: str) -> None:
    (tmp_path / logins.FILE).write_text(text)
    with pytest.raises(Failure, match="log in again"):
        logins.read(tmp_path)
