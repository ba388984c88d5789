"""A restore that is refused has changed nothing and left nothing; one that died is mended by the same restore again."""

import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from godwit.control_plane import __main__ as verbs
from godwit.control_plane.backup import backing, home_files, opening, refusals, restoring, settling
from godwit.control_plane.backup.restoring import Wish
from godwit.control_plane.envelope import About
from godwit.control_plane.home import Home
from godwit.control_plane.services import authorities
from godwit.control_plane.store import queries, schema, sealed, writes
from godwit.control_plane.store.database import SERVING, WORKING, Database, open_engine
from godwit.control_plane.vault import new_key
from godwit.domain.errors import Conflict, InvalidRequest

from tests.control_plane.faulty import Killed
from tests.control_plane.world import World

NOW = 2_000_000_000.0
KEY = "GODWIT_CREDENTIALS_KEY"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    """A home that was served, with all its keys."""
    served = Home(tmp_path / "home")
    served.keyring()
    served.token()
    served.vault()
    url = world.db.engine.url.render_as_string(hide_password=False)
    (served.folder / "config.yaml").write_text(f"database: {url}\nproviders: []\n")
    with world.db.write() as tx:
        writes.set_meta(tx, "identity", "godwit-test")
    return served.folder


@pytest.fixture
def backup(home: Path, tmp_path: Path) -> Path:
    """A backup of it, whose token has been another one since."""
    backing.backup(home, tmp_path / "b", NOW)
    (home / "token").write_text("gw_since")
    return tmp_path / "b"


def held(home: Path) -> dict[str, bytes]:
    """All that lies in a home but the lock."""
    files = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


@contextmanager
def connected(url: str, *names: str) -> Iterator[None]:
    """Connections to a database as those who work on it have them."""
    engines = [open_engine(url, name) for name in names]
    with ExitStack() as open_ones:
        for engine in engines:
            open_ones.callback(engine.dispose)
            open_ones.enter_context(engine.connect())
        yield


def url_of(world: World) -> str:
    return world.db.engine.url.render_as_string(hide_password=False)


def fresh(tmp_path: Path) -> Path:
    """A home elsewhere, with a database of its own."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"database: sqlite:///{folder}/godwit.db\nproviders: []\n")
    return folder


@on_postgresql
@pytest.mark.parametrize(
    ("names", "who"),
    [
        ([SERVING], "a control plane is connected to the database; stop all of them first: `systemctl stop godwit` on"),
        ([WORKING], "a worker is connected to the database; stop all of them first: `systemctl stop godwit-worker` on"),
        ([WORKING, SERVING], "a control plane and a worker are connected"),
    ],
)
def test_who_works_on_the_database_is_named_and_nothing_is_touched(
    world: World, home: Path, backup: Path, names: list[str], who: str
) -> None:
    was = held(home)
    with connected(url_of(world), *names), pytest.raises(Conflict) as refused:
        restoring.restore(home, backup, NOW, Wish(over_newer=True))
    assert who in refused.value.message
    assert held(home) == was


@on_postgresql
def test_who_begins_to_serve_after_the_first_question_is_found_by_the_last(
    world: World, home: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = held(home)
    monkeypatch.setattr(refusals, "served", lambda _url: None)
    with connected(url_of(world), SERVING), pytest.raises(Conflict, match="a control plane is connected"):
        restoring.restore(home, backup, NOW, Wish(over_newer=True))
    assert held(home) == was
    assert world.submit("goes-on")


@on_sqlite
def test_a_home_that_a_control_plane_with_a_name_holds_is_left_alone(home: Path, backup: Path) -> None:
    was = held(home)
    with Home(home, "b").hold(), pytest.raises(Conflict, match=rf"b \(process {os.getpid()}\); stop all"):
        restoring.restore(home, backup, NOW, Wish(over_newer=True))
    assert held(home) == was


def seal_account(world: World, home: Path) -> None:
    row = {"name": "lambda", "kind": "lambda", "options": "{}", "created_at": NOW}
    with world.db.write() as tx:
        tx.conn.execute(schema.providers.insert().values(**row, secrets=Home(home).vault().seal({"api_key": "k"})))


def seal_secret(world: World, home: Path) -> None:
    with world.db.write() as tx:
        value = Home(home).envelope().seal("hush", About("default", "hf", 1))
        sealed.add(tx, "default", "hf", 1, value, "somebody", NOW)


def seal_authority(world: World, home: Path) -> None:
    authorities.ensure(replace(world.context, envelope=Home(home).envelope()))


@on_sqlite
@pytest.mark.parametrize("seal", [seal_account, seal_secret, seal_authority])
def test_a_backup_whose_key_is_not_given_is_refused_before_anything_is_touched(
    world: World, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seal: Callable[[World, Path], None]
) -> None:
    key = new_key().decode()
    monkeypatch.setenv(KEY, key)
    seal(world, home)
    backing.backup(home, tmp_path / "b", NOW)
    assert opening.needs_a_key_besides(tmp_path / "b")
    there = fresh(tmp_path)
    was = held(there)
    for wrong in ("", new_key().decode()):
        monkeypatch.setenv(KEY, wrong)
        with pytest.raises(InvalidRequest, match=f"no key here opens.*{KEY}"):
            restoring.restore(there, tmp_path / "b", NOW, Wish())
        assert held(there) == was
    monkeypatch.setenv(KEY, f"{new_key().decode()} {key}")
    restoring.restore(there, tmp_path / "b", NOW, Wish())
    assert Home(there).token() == Home(home).token()


@on_sqlite
def test_a_refusal_on_a_new_machine_leaves_no_configuration(
    world: World, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, new_key().decode())
    seal_account(world, home)
    backing.backup(home, tmp_path / "b", NOW)
    monkeypatch.delenv(KEY)
    with pytest.raises(InvalidRequest, match=KEY):
        restoring.restore(tmp_path / "new", tmp_path / "b", NOW, Wish(over_newer=True))
    assert held(tmp_path / "new") == {}


@on_sqlite
def test_what_the_key_in_a_backup_opens_needs_no_other(world: World, home: Path, tmp_path: Path) -> None:
    for seal in (seal_account, seal_secret, seal_authority):
        seal(world, home)
    backing.backup(home, tmp_path / "b", NOW)
    assert not opening.needs_a_key_besides(tmp_path / "b")
    restoring.restore(fresh(tmp_path), tmp_path / "b", NOW, Wish())


@on_sqlite
def test_a_secret_that_nobody_can_open_any_more_keeps_no_backup_from_being_restored(
    world: World, home: Path, tmp_path: Path
) -> None:
    seal_secret(world, home)
    (home / "credentials.key").unlink()
    seal_account(world, home)
    backing.backup(home, tmp_path / "b", NOW)
    restoring.restore(fresh(tmp_path), tmp_path / "b", NOW, Wish())


def dies(*_given: Any, **_by_name: Any) -> Any:
    raise Killed


def is_full(*_given: Any) -> Any:
    raise OSError("No space left on device")


STEPS = {
    "before the rest of the home is written beside": (home_files, "_write_workdirs"),
    "when the database is settled": (settling, "settle"),
    "before the home's files are put": (home_files, "_put"),
}


@pytest.mark.parametrize("step", STEPS)
def test_whoever_dies_restoring_is_mended_by_the_same_restore_again(
    world: World, home: Path, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    was, there = held(home), fresh(tmp_path)
    is_postgresql = world.db.engine.dialect.name == "postgresql"
    if is_postgresql:  # into its own database, emptied: another one takes longer to make
        there = home
        with world.db.engine.begin() as conn:
            conn.execute(schema.events.delete())
    with monkeypatch.context() as broken:
        broken.setattr(*STEPS[step], dies)
        with pytest.raises(Killed):
            restoring.restore(there, backup, NOW + 1.0, Wish())
    if is_postgresql:
        kept = {name for name in held(home) if name not in was}
        assert len(kept) == (step == "before the home's files are put")
        assert {name: held(home)[name] for name in was} == was
    else:
        assert not (there / "token").exists()
    (there / ".restoring" / "archives").mkdir(parents=True)  # what a process that is killed leaves
    done = restoring.restore(there, backup, NOW + 3.0, Wish())
    assert (there / "token").read_bytes() == home_files._read(backup)["token"]
    assert not (there / ".restoring").exists()
    assert done.restored.backup_at == NOW


@on_sqlite
def test_a_disk_that_takes_no_more_files_is_told_once_the_database_is_restored(
    home: Path, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = fresh(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(home_files, "_put", is_full)
        with pytest.raises(Conflict, match=r"No space left on device.*same restore"):
            restoring.restore(there, backup, NOW, Wish())
    restoring.restore(there, backup, NOW + 1.0, Wish())
    assert (there / "secret.key").read_bytes() == (home / "secret.key").read_bytes()


@on_sqlite
def test_a_restored_database_that_was_served_since_is_newer(home: Path, backup: Path, tmp_path: Path) -> None:
    there = fresh(tmp_path)
    restoring.restore(there, backup, NOW + 1.0, Wish())
    db = Database(open_engine(f"sqlite:///{there}/godwit.db"))
    with db.write() as tx:
        tx.conn.execute(schema.events.update().values(at=NOW + 2.0))
    db.close()
    with pytest.raises(Conflict, match="newer than the backup, by 2 s"):
        restoring.restore(there, backup, NOW + 3.0, Wish())


@on_postgresql
def test_what_was_there_is_kept_with_its_own_keys(world: World, home: Path, backup: Path) -> None:
    (home / "secret.key").write_bytes(b"s" * 32)
    done = restoring.restore(home, backup, NOW, Wish(over_newer=True))
    assert done.kept is not None
    assert home_files._read(done.kept)["secret.key"] == b"s" * 32
    assert {path.name.partition(".before")[0] for path in home.glob("*.before-restore-*")} == {"token", "secret.key"}
    with world.db.read() as conn:
        assert queries.meta(conn, "identity") == "godwit-test"


@on_sqlite
def test_the_commands_say_which_key_is_needed_how_old_it_is_and_how_to_go_on(
    world: World, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there, file = fresh(tmp_path), tmp_path / "b"
    with monkeypatch.context() as given:
        given.setenv(KEY, new_key().decode())
        seal_account(world, home)
        verbs._backup(home, Namespace(file=file))
        assert f"{KEY} is not in it, and a restore needs both" in capsys.readouterr().out
        verbs._restore(there, Namespace(file=file, end_orphans=False, over_newer=False))
    said = capsys.readouterr().out
    assert re.search(r"restored godwit-test as of \d min ago into", said)
    assert "start it again (godwit up, or systemctl start godwit and godwit-worker)" in said
    # What its owner's shell lacks is found out nevertheless: the key file there opens nothing.
    file.unlink()
    verbs._backup(home, Namespace(file=file))
    assert KEY in capsys.readouterr().out
