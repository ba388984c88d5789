"""A home is held by one control plane, keeps its secrets to its owner, and its port for its agents."""

import os
import socket
import stat
from pathlib import Path

import pytest
from godwit.control_plane import keyring
from godwit.control_plane.home import Holder, Home, holders
from godwit.domain.errors import Conflict

from tests.ports import lasting_port


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh home."""
    return Home(tmp_path / "home")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_holder_is_refused_and_told_who_holds_it(home: Home) -> None:
    with home.hold():
        home.announce(Holder(os.getpid(), "http://127.0.0.1:1", "godwit-1"))
        with pytest.raises(Conflict) as refused:
            Home(home.folder).hold()
    assert f"process id {os.getpid()} " in refused.value.message
    assert "http://127.0.0.1:1" in refused.value.message
    assert "GODWIT_HOME" in refused.value.message


def test_a_home_is_free_again_once_its_holder_is_gone(home: Home) -> None:
    with home.hold():
        assert home.is_held()
    assert not home.is_held()
    home.hold().close()


def test_asking_who_holds_a_home_leaves_no_trace(home: Home) -> None:
    with home.hold():
        held = (home.folder / "control_plane.lock").read_text()
    (home.folder / "control_plane.lock").write_text("12345\n")
    assert not home.is_held()
    assert (home.folder / "control_plane.lock").read_text() == "12345\n"
    assert held == f"{os.getpid()}\n"


def test_a_folder_tells_the_names_and_processes_of_all_who_hold_it(home: Home) -> None:
    assert holders(home.folder) == {}
    assert holders(home.folder / "not-made") == {}
    with home.hold(), Home(home.folder, "b").hold(), Home(home.folder, "a").hold():
        assert holders(home.folder) == {"": os.getpid(), "a": os.getpid(), "b": os.getpid()}
        (home.folder / "control_plane.b.lock").write_text("")
        assert holders(home.folder) == {"": os.getpid(), "a": os.getpid(), "b": None}, "it has not said so yet"
    assert holders(home.folder) == {}, "their locks lie there, and nobody holds them"
    assert not (home.folder / "not-made").exists()


def test_whoever_meets_a_named_holder_is_not_sent_to_a_verb_that_refuses(home: Home) -> None:
    named = Home(home.folder, "a")
    with named.hold(), pytest.raises(Conflict) as refused:
        named.hold()
    assert "systemctl stop godwit" in refused.value.message
    assert "godwit down" not in refused.value.message


def test_secrets_are_readable_by_their_owner_only(home: Home) -> None:
    assert home.token() == home.token()
    home.keyring()
    home.announce(Holder(1, "u", "i"))
    for name in ("token", "secret.key", "control_plane.json"):
        assert mode(home.folder / name) == 0o600, name
    assert mode(home.folder) == 0o700


def test_a_secret_is_private_from_its_first_byte_whatever_the_umask(home: Home) -> None:
    before = os.umask(0)
    try:
        keyring.write_private(home.folder / "x", b"x")
    finally:
        os.umask(before)
    assert mode(home.folder / "x") == 0o600
    assert [path.name for path in home.folder.iterdir()] == ["x"]


def test_the_keyring_derives_the_same_from_the_same_and_shows_nothing(home: Home) -> None:
    one, two = home.keyring(), home.keyring()
    assert (one.key_id, one.signature("node-1")) == (two.key_id, two.signature("node-1"))
    assert one.signature("node-1") != one.signature("node-2")
    assert one.join_token("node-1", "x") != one.ray_token("node-1/x")
    assert (home.folder / "secret.key").read_bytes().hex() not in repr(one)


def test_an_announcement_that_is_cut_short_or_strange_is_none(home: Home) -> None:
    assert home.holder() is None
    for text in ("", "{", "[]", '{"pid": 1}', '{"pid": 1, "url": "u", "identity": "i", "more": 2}'):
        (home.folder / "control_plane.json").write_text(text)
        assert home.holder() is None, text
    home.withdraw()
    home.withdraw()


def test_the_port_is_kept_across_restarts(home: Home) -> None:
    port = lasting_port()
    with home.listen(port) as first:
        assert first.getsockname() == ("127.0.0.1", port)
    with home.listen(0) as second:
        assert second.getsockname()[1] == port


def test_a_port_that_is_in_use_is_a_conflict_that_says_what_to_do(home: Home) -> None:
    port = lasting_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Conflict, match=r"config\.yaml"):
        home.listen(port)
    with home.listen(port) as free:
        assert free.getsockname()[1] == port


def test_two_control_planes_that_start_at_once_listen_on_different_ports(tmp_path: Path) -> None:
    with Home(tmp_path / "one").listen(0) as one, Home(tmp_path / "two").listen(0) as two:
        assert one.getsockname() != two.getsockname()
