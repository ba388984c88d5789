"""The workdir as an archive: the same bytes for the same files, bounded, and nothing from outside of it."""

import os
import tarfile
from pathlib import Path

import pytest
from godwit.cli import ignore, workdir
from godwit.cli.exits import ExitCode, Failure


def _names(folder: Path) -> list[str]:
    return [entry.relative for entry in workdir.scan(folder)]


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    for name, mtime in (("one", 1_000), ("two", 2_000)):
        (tmp_path / name / "src").mkdir(parents=True)
        for path in (tmp_path / name / "b.py", tmp_path / name / "src" / "a.py"):
            path.write_text("print()")
            os.utime(path, (mtime, mtime))
    first, second = workdir.pack(tmp_path / "one"), workdir.pack(tmp_path / "two")
    assert first.digest == second.digest
    assert first.file.read() == second.file.read()


def test_members_are_sorted_and_carry_neither_owner_nor_time(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("b")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.sh").write_text("x")
    (tmp_path / "a" / "run.sh").chmod(0o700)
    with tarfile.open(fileobj=workdir.pack(tmp_path).file) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["a", "a/run.sh", "b"]
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
    assert [member.mode for member in members] == [0o755, 0o755, 0o644]


def test_a_missing_workdir_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="nowhere does not exist") as caught:
        workdir.pack(tmp_path / "nowhere")
    assert caught.value.code is ExitCode.USAGE


def test_a_link_that_leaves_the_folder_is_named_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "key").symlink_to("/etc/passwd")
    with pytest.raises(Failure, match="the link key leads out of the folder, to /etc/passwd"):
        workdir.pack(tmp_path / "in")


def test_a_link_through_another_link_cannot_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "up").symlink_to("../..")
    with pytest.raises(Failure, match="sub/up leads out"):
        workdir.pack(tmp_path / "in")


def test_an_absolute_link_within_the_folder_becomes_relative(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "data" / "x")
    with tarfile.open(fileobj=workdir.pack(tmp_path).file) as tar:
        assert tar.getmember("link").linkname == "data/x"


def test_a_pipe_is_refused_with_a_way_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Failure, match=r"pipe is a socket, a pipe or a device.*\.godwitignore"):
        workdir.scan(tmp_path)


def test_histories_caches_and_environments_stay_behind(tmp_path: Path) -> None:
    for name in (".git", ".venv", "src/__pycache__"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x").write_text("x")
    (tmp_path / "src" / "a.py").write_text("x")
    assert _names(tmp_path) == ["src", "src/a.py"]


def test_the_ignore_file_speaks_a_little_of_gitignores_language(tmp_path: Path) -> None:
    (tmp_path / ignore.FILE).write_text("# data\n*.ckpt\n!keep.ckpt\n/notes\nruns/*.log\nbig/\n")
    for name in ("a.ckpt", "keep.ckpt", "notes", "sub/notes", "runs/a.log", "runs/deep/b.log", "sub/big/x", "big2"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    files = [name for name in _names(tmp_path) if (tmp_path / name).is_file()]
    assert files == [ignore.FILE, "big2", "keep.ckpt", "runs/deep/b.log", "sub/notes"]


def test_too_much_is_refused_with_the_largest_entries_before_anything_is_packed(tmp_path: Path) -> None:
    for name, size in (("small", 1), ("huge", 700 << 20), ("large", 400 << 20), ("middle", 9 << 20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)  # sparse: it takes no room on the disk
    with pytest.raises(Failure) as caught:
        workdir.pack(tmp_path)
    told = caught.value.message
    assert "at most 1.0 GiB" in told
    assert [line.split()[-1] for line in told.splitlines()[1:4]] == ["huge", "large", "middle"]
    assert ".godwitignore" in told


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workdir, "FILES_MAX", 3)
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(Failure, match="holds 4 files; at most 3"):
        workdir.scan(tmp_path)


def test_packing_stops_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workdir, "PACKED_MAX_BYTES", 10_000)
    (tmp_path / "noise").write_bytes(os.urandom(2 << 20))
    with pytest.raises(Failure, match=r"when packed.*\n.*noise"):
        workdir.pack(tmp_path)


def test_a_link_that_steps_up_behind_a_name_is_written_plainly(tmp_path: Path) -> None:
    """Nodes refuse such a step: the name before it may be a link."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "x").write_text("x")
    (tmp_path / "a" / "link").symlink_to("b/../../x")
    with tarfile.open(fileobj=workdir.pack(tmp_path).file) as tar:
        assert tar.getmember("a/link").linkname == "../x"
