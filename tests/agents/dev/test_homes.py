"""A home folder comes back as it was, and costs what changed."""

import os
import socket
import tarfile
from pathlib import Path

import pytest
from godwit.agents.dev import home
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "Ünï", ".hidden", "with space", "-dash"])
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(tuple),
    st.tuples(st.binary(max_size=50), st.sampled_from([0o600, 0o644, 0o755, 0o4755, 0o666])),
    max_size=8,
)


def shown(folder: Path) -> dict[str, tuple[int, object]]:
    """Everything below a folder: permissions, and content or target."""
    seen: dict[str, tuple[int, object]] = {}
    for path in sorted(folder.rglob("*")):
        about: object = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        seen[str(path.relative_to(folder))] = (path.lstat().st_mode, about)
    return seen


def saved(source: Path, target: Path, before: Path | None = None, old: list[home.Found] | None = None) -> Path:
    """A save of the home."""
    home.save(source, home.look(source), 10**9, target, before, old or [])
    return target


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_a_home_comes_back_with_its_permissions_links_and_folders(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[tuple[str, ...], tuple[bytes, int]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("home")
    source = tmp_path / "source"
    source.mkdir()
    for parts, (content, mode) in tree.items():
        path = source.joinpath(*parts)
        if path.exists() or any(one.is_file() for one in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    (source / "link").symlink_to("/nowhere/at all")
    (source / "empty").mkdir(mode=0o700)
    (source / "closed").mkdir()
    (source / "closed" / "file").write_text("x")
    (source / "closed").chmod(0o500)
    home.restore(saved(source, tmp_path / "checkpoint-1"), tmp_path / "again")
    assert shown(tmp_path / "again") == shown(source)
    (source / "closed").chmod(0o700)
    (tmp_path / "again" / "closed").chmod(0o700)


def test_what_did_not_change_is_the_same_archive(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(200):
        (source / f"file-{number}").write_text(f"{number}\n")
    (source / "weights").write_bytes(bytes(home.LARGE_BYTES))
    old, first = home.look(source), saved(source, tmp_path / "checkpoint-1")
    (source / "file-7").write_text("changed\n")
    second = saved(source, tmp_path / "checkpoint-2", first, old)
    same = [path.name for path in second.iterdir() if path.samefile(first / path.name)]
    assert len(same) == len(list(first.iterdir())) - 1, "one pack of small files is new"
    home.restore(second, tmp_path / "again")
    assert shown(tmp_path / "again") == shown(source)
    assert home.look(tmp_path / "again") != old, "it is another folder"


def test_caches_sockets_and_what_vanishes_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for left in (".cache/pip", "work/__pycache__", ".nv/ComputeCache", ".npm/_cacache"):
        (source / left).mkdir(parents=True)
        (source / left / "file").write_text("x")
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(source / "socket"))
    (source / "gone").write_text("x")
    found = home.look(source)
    (source / "gone").unlink()
    home.save(source, found, 10**9, tmp_path / "checkpoint-1", None, [])
    home.restore(tmp_path / "checkpoint-1", tmp_path / "again")
    assert sorted(shown(tmp_path / "again")) == [".npm", ".nv", "work"]


def test_a_home_that_is_too_large_is_refused_with_its_size(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "big").write_bytes(bytes(1000))
    with pytest.raises(home.TooLarge) as refused:
        home.save(tmp_path / "source", home.look(tmp_path / "source"), 999, tmp_path / "checkpoint-1", None, [])
    assert refused.value.size_bytes == 1000
    assert list(tmp_path.iterdir()) == [tmp_path / "source"], "nothing half-done is left"


def test_a_file_that_is_cut_off_or_grows_while_it_is_packed_spoils_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("cut", "grown", "other"):
        (tmp_path / "source" / name).write_text(name * 5)
    found = home.look(tmp_path / "source")
    (tmp_path / "source" / "cut").write_text("c")
    (tmp_path / "source" / "grown").write_text("grown" * 50)
    home.save(tmp_path / "source", found, 10**9, tmp_path / "checkpoint-1", None, [])
    home.restore(tmp_path / "checkpoint-1", tmp_path / "again")
    assert (tmp_path / "again" / "other").read_text() == "other" * 5


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("name", ["../outside/x", "/outside", "a/../../outside/x", "way/x", "hard"])
def test_an_entry_that_no_home_was_saved_as_touches_nothing_outside(tmp_path: Path, name: str, kind: bytes) -> None:
    entry, outside = tmp_path / "entry", tmp_path / "outside"
    entry.mkdir()
    outside.mkdir(mode=0o700)
    (outside / "x").write_text("theirs")
    with tarfile.open(entry / "tree.tar", "w") as archive:
        way, bad = tarfile.TarInfo("way"), tarfile.TarInfo(name)
        way.type, way.linkname = tarfile.SYMTYPE, str(outside)
        bad.type, bad.linkname, bad.mode = kind, str(outside / "x"), 0o777
        archive.addfile(way)
        archive.addfile(bad)
    if name == "hard" and kind in {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE}:
        home.restore(entry, tmp_path / "home")  # a name like any other
    else:
        with pytest.raises(tarfile.TarError):
            home.restore(entry, tmp_path / "home")
    assert (outside / "x").read_text() == "theirs"
    assert outside.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in outside.iterdir()] == ["x"]


def test_a_link_of_the_home_is_not_followed_by_a_folder_of_its_name(tmp_path: Path) -> None:
    entry, outside = tmp_path / "entry", tmp_path / "outside"
    entry.mkdir()
    outside.mkdir(mode=0o700)
    with tarfile.open(entry / "tree.tar", "w") as archive:
        way, folder = tarfile.TarInfo("way"), tarfile.TarInfo("way")
        way.type, way.linkname = tarfile.SYMTYPE, str(outside)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o777
        archive.addfile(way)
        archive.addfile(folder)
    with pytest.raises(tarfile.TarError):
        home.restore(entry, tmp_path / "home")
    assert outside.stat().st_mode & 0o777 == 0o700
