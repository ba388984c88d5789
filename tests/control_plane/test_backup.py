"""A backup is one whole file, of either database for either; a restore is whole, and overwrites nothing unasked."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.control_plane import orphaned
from godwit.control_plane.backup import archive, backing, restoring, rows
from godwit.control_plane.backup.restoring import Wish
from godwit.control_plane.home import Home
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import entities, job_lists, queries, writes
from godwit.control_plane.store.database import SERVING, Database, Transaction, open_engine, upgrade
from godwit.domain.errors import Conflict, InvalidRequest
from godwit.domain.events import Event

from tests.control_plane.world import World

NOW = 2_000_000_000.0
DIGEST = "ab" * 32


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    """The home of a control plane with a job that runs and one whose workdir was uploaded."""
    folder = tmp_path / "home"
    Home(folder).keyring()
    Home(folder).token()
    (folder / "config.yaml").write_text(f"database: {_url(world)}\nproviders: []\n")
    Shelf(folder / "archives")
    for digest in (DIGEST, "cd" * 32):
        (folder / "archives" / f"{digest}.tar.gz").write_bytes(digest.encode() * 9)
    with world.db.write() as tx:
        writes.set_meta(tx, "identity", "godwit-test")
    world.run("digits")
    world.submit("packed", env={"WORKDIR": DIGEST})
    return folder


def _url(world: World) -> str:
    return world.db.engine.url.render_as_string(hide_password=False)


def _content(url: str) -> dict[str, list[Any]]:
    engine = open_engine(url)
    with engine.connect() as conn:
        found = {of.name: sorted(map(repr, conn.execute(of.select()))) for of in rows.tables(rows.reflected(conn))}
    engine.dispose()
    return found


def _fresh(tmp_path: Path) -> Path:
    """A home elsewhere, with a database of its own."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"database: sqlite:///{folder}/godwit.db\nproviders: []\n")
    return folder


def test_a_home_comes_back_elsewhere_with_every_row_its_keys_and_the_workdirs_that_are_needed(
    world: World, home: Path, tmp_path: Path
) -> None:
    before = _content(_url(world))
    manifest = backing.backup(home, tmp_path / "b", NOW)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert sum(manifest.rows.values()) == sum(map(len, before.values()))
    world.db.close()
    there = _fresh(tmp_path)
    done = restoring.restore(there, tmp_path / "b", NOW + 60.0, Wish())
    after = _content(f"sqlite:///{there}/godwit.db")
    for table in after.keys() - {"meta", "events"}:
        assert after[table] == before[table], table
    assert set(before["events"]) < set(after["events"])
    assert done.kept is None
    assert (there / "secret.key").read_bytes() == (home / "secret.key").read_bytes()
    assert [path.name for path in (there / "archives").iterdir()] == [f"{DIGEST}.tar.gz"]


def test_what_was_there_is_kept_beside_and_the_numbers_of_rows_go_on(world: World, home: Path, tmp_path: Path) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    newest = world.submit("later")
    with pytest.raises(Conflict, match="over-newer"):
        restoring.restore(home, _as_of(tmp_path / "b", home, world, 0.0), NOW, Wish())
    url = _url(world)
    world.db.close()
    done = restoring.restore(home, tmp_path / "b", NOW, Wish(over_newer=True))
    assert done.kept is not None
    assert done.kept.exists()
    db = Database(open_engine(url))
    world.context = world.context.__class__(**{**world.context.__dict__, "db": db})
    with db.read() as conn:
        assert {job.name for job in job_lists.page(conn, 10, None, [])} == {"digits", "packed"}
    again = world.submit("again")
    assert again != newest
    with db.read() as conn:
        assert queries.last_events(conn, 1, again)[0].seq > NOW
    db.close()


def test_a_process_of_its_own_replaces_every_table(world: World, home: Path, tmp_path: Path) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    before, url = _content(_url(world)), _url(world)
    world.submit("later")
    world.db.close()
    verb = [sys.executable, "-m", "godwit.control_plane", "restore", "--over-newer", "--home", str(home)]
    done = subprocess.run([*verb, str(tmp_path / "b")], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    after = _content(url)
    assert {name for name in before if before[name] != after[name]} == {"meta", "events"}


def _as_of(source: Path, home: Path, world: World, at: float) -> Path:
    """A backup of the same state that says that it was taken long ago."""
    older = source.with_name("older")
    backing.backup(home, older, at)
    return older


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_embedded_control_plane_moves_to_postgresql_by_a_backup(
    world: World, home: Path, tmp_path: Path, postgres_database_of_module: str
) -> None:
    before = _content(_url(world))
    backing.backup(home, tmp_path / "b", NOW)
    (home / "config.yaml").write_text(f"database: {postgres_database_of_module}\nproviders: []\n")
    restoring.restore(home, tmp_path / "b", NOW, Wish())
    after = _content(postgres_database_of_module)
    assert {name for name in before if before[name] != after[name]} == {"meta", "events"}
    db = Database(open_engine(postgres_database_of_module))
    with db.write() as tx:
        writes.replace_meta(tx, "numbered", "on")
        entities.append(tx, Event(NOW, "test.said", "test", "it", "rows are numbered on", "a test"))
    with db.read() as conn:
        assert [event.kind for event in queries.events(conn, 0, 1000)][-2:] == ["database.restored", "test.said"]
    db.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_another_control_planes_database_is_not_replaced_unasked(world: World, home: Path, tmp_path: Path) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    there = _fresh(tmp_path)
    db = Database(open_engine(f"sqlite:///{there}/godwit.db"))
    db.migrate()
    with db.write() as tx:
        writes.set_meta(tx, "identity", "godwit-other")
    db.close()
    with pytest.raises(Conflict, match="godwit-other"):
        restoring.restore(there, tmp_path / "b", NOW, Wish())
    assert restoring.restore(there, tmp_path / "b", NOW, Wish(over_newer=True)).kept is not None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_home_that_is_served_is_left_alone(home: Path, tmp_path: Path) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    with Home(home).hold(), pytest.raises(Conflict, match="godwit down"):
        restoring.restore(home, tmp_path / "b", NOW, Wish(over_newer=True))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_damaged_file_is_refused_before_anything_is_touched(world: World, home: Path, tmp_path: Path) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    whole = (tmp_path / "b").read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    before = _content(_url(world))
    for harmed in (whole[:middle], flipped, b"hello", b""):
        (tmp_path / "b").write_bytes(harmed)
        with pytest.raises(InvalidRequest, match="backup"):
            restoring.restore(home, tmp_path / "b", NOW, Wish(over_newer=True))
    assert _content(_url(world)) == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_is_never_written_over_another(home: Path, tmp_path: Path) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    with pytest.raises(Conflict, match="exists"):
        backing.backup(home, tmp_path / "b", NOW)


def test_where_nothing_was_ever_served_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no home"):
        backing.backup(tmp_path / "nowhere", tmp_path / "b", NOW)
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "nowhere").exists()


def test_a_home_whose_database_is_elsewhere_is_not_given_an_empty_one(tmp_path: Path) -> None:
    """An administrator's shell lacks the variables of the service, and the home alone names a SQLite file."""
    served = Home(tmp_path / "home")
    served.keyring()
    for ask in (
        lambda: backing.backup(served.folder, tmp_path / "b", 1.0),
        lambda: list(orphaned.listed(served.folder)),
        lambda: orphaned.end(served.folder, 1.0),
    ):
        with pytest.raises(InvalidRequest, match="GODWIT_DATABASE_URL"):
            ask()
    assert not (served.folder / "godwit.db").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_of_a_newer_godwit_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    monkeypatch.setattr(restoring, "MIGRATIONS", tmp_path)
    with pytest.raises(InvalidRequest, match="newer; install that first"):
        restoring.restore(home, tmp_path / "b", NOW, Wish())


def test_a_part_that_no_manifest_names_is_refused(tmp_path: Path) -> None:
    def rewrite(change: Callable[[dict[str, Any]], None]) -> None:
        with archive.writing(tmp_path / "b") as (writer, _close):
            writer.spooled("tables/jobs", lambda file: file.write(b"{}\n"))
            told: dict[str, Any] = {
                "format": 1, "version": "1", "identity": "i", "schema": "0001", "at": 1.0, "last_event": 0,
                "rows": {}, "parts": dict(writer.parts),
            }  # fmt: skip
            change(told)
            writer.spooled("manifest.json", lambda file: file.write(json.dumps(told).encode()))

    rewrite(lambda _told: None)
    assert archive.verified(tmp_path / "b").identity == "i"
    rewrite(lambda told: told["parts"].clear())
    with pytest.raises(InvalidRequest, match="damaged"):
        archive.verified(tmp_path / "b")
    rewrite(lambda told: told.update(format=2))
    with pytest.raises(InvalidRequest, match="format 2"):
        archive.verified(tmp_path / "b")
    rewrite(lambda told: told.pop("at"))
    with pytest.raises(InvalidRequest, match="manifest"):
        archive.verified(tmp_path / "b")


def test_a_backup_from_before_an_upgrade_is_brought_up_to_date(tmp_path: Path) -> None:
    old = tmp_path / "old"
    Home(old).keyring()
    (old / "config.yaml").write_text("providers: []\n")
    engine = open_engine(f"sqlite:///{old}/godwit.db")
    with engine.begin() as conn:
        upgrade(conn, "0012")
        writes.set_meta(Transaction(conn), "identity", "godwit-test")
    engine.dispose()
    assert backing.backup(old, tmp_path / "b", NOW).schema == "0012"
    there = tmp_path / "there"
    restoring.restore(there, tmp_path / "b", NOW, Wish())
    db = Database(open_engine(f"sqlite:///{there}/godwit.db"))
    with db.read() as conn:
        assert queries.meta(conn, "identity") == "godwit-test"
        assert str(backing.revision(conn)) > "0012"
    db.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_database_that_a_control_plane_elsewhere_serves_is_left_alone(
    world: World, home: Path, tmp_path: Path
) -> None:
    backing.backup(home, tmp_path / "b", NOW)
    elsewhere = open_engine(_url(world), SERVING)
    with elsewhere.connect(), pytest.raises(Conflict, match="stop all of them"):
        restoring.restore(home, tmp_path / "b", NOW, Wish(over_newer=True))
    elsewhere.dispose()
    assert world.submit("goes-on")
