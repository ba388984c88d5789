"""What of a program is saved beside its memory, how a save becomes a checkpoint, and what is told of one that fails."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from godwit.agents.checkpoints import notes
from godwit.agents.checkpoints.watch import FolderWatch
from godwit.agents.runtime.process import criu, files, rooms, saves
from godwit.agents.runtime.process.inside import as_seen_inside
from godwit.agents.runtime.process.saves import NotSaved
from hypothesis import given, settings
from hypothesis import strategies as st

Tree = dict[str, str]


def _grow(folder: Path, tree: Tree) -> Path:
    for name, text in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _tree(folder: Path) -> Tree:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    """An attempt's folder as set-up left it."""
    return _grow(tmp_path / "attempt", {"workdir/code.py": "v1", "workdir/data/a": "a", "workdir/old": "old"})


def test_only_files_that_the_program_changed_are_saved(attempt: Path, tmp_path: Path) -> None:
    base = files.listing(attempt)
    _grow(attempt, {"workdir/results": "42", "tmp/scratch": "x", "run/progress.jsonl": "{}"})
    (attempt / "workdir" / "old").unlink()
    target = tmp_path / "save"
    target.mkdir()
    files.pack(attempt, base, target)
    with tarfile.open(target / files.ARCHIVE) as tar:
        assert sorted(tar.getnames()) == ["tmp/scratch", "workdir/results"]
    assert json.loads((target / files.GONE).read_text()) == ["workdir/old"]
    assert (target / files.ARCHIVE).stat().st_mode & 0o777 == 0o600


def test_files_are_laid_over_a_fresh_workdir_and_lifted_again_without_a_trace(attempt: Path, tmp_path: Path) -> None:
    fresh, target = _grow(tmp_path / "fresh", _tree(attempt)), tmp_path / "save"
    base = files.listing(attempt)
    _grow(attempt, {"workdir/code.py": "version 2", "workdir/new/deep": "n"})
    (attempt / "workdir" / "old").unlink()
    target.mkdir()
    files.pack(attempt, base, target)
    before = _tree(fresh)
    files.lay(target, fresh, tmp_path / "aside")
    assert _tree(fresh) == _tree(attempt)
    files.lift(fresh, tmp_path / "aside")
    assert _tree(fresh) == before
    files.lift(fresh, tmp_path / "aside")  # once is enough


_TREES = st.dictionaries(
    st.sampled_from(["workdir/a", "workdir/b", "workdir/c/d", "tmp/e", "tmp/f/g"]), st.text("xyz", max_size=5)
)


@settings(max_examples=40, deadline=None)  # a disk may be slow for a moment
@given(_TREES, _TREES)
def test_whatever_was_there_it_is_as_it_was_packed_and_then_as_it_was_before(
    tmp_path_factory: pytest.TempPathFactory, packed: Tree, there: Tree
) -> None:
    root = tmp_path_factory.mktemp("laid")
    for name in ("one", "two", "save"):
        (root / name).mkdir()
    one, two = _grow(root / "one", packed), _grow(root / "two", there)
    files.pack(one, {name: [0, 0, 0] for name in there}, root / "save")
    files.lay(root / "save", two, root / "aside")
    assert _tree(two) == packed
    files.lift(two, root / "aside")
    assert _tree(two) == there


def test_links_and_folders_are_saved_and_what_lives_only_in_memory_is_not(attempt: Path, tmp_path: Path) -> None:
    base = files.listing(attempt)
    (attempt / "workdir" / "link").symlink_to("code.py")
    (attempt / "workdir" / "empty").mkdir()
    (attempt / "workdir" / "rendezvous").mkdir()
    os.mkfifo(attempt / "workdir" / "rendezvous" / "pipe")
    (tmp_path / "save").mkdir()
    files.pack(attempt, base, tmp_path / "save")
    with tarfile.open(tmp_path / "save" / files.ARCHIVE) as tar:
        assert sorted(tar.getnames()) == ["workdir/empty", "workdir/link", "workdir/rendezvous"]


def test_more_than_a_save_may_hold_is_refused_with_what_to_do(
    attempt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BYTES_MAX", 3)
    with pytest.raises(files.TooMuchChanged, match="write large results to storage"):
        files.pack(attempt, {"workdir/code.py": [0, 0, 0]}, tmp_path)


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "workdir/../../up"])
def test_a_save_whose_files_would_leave_the_folder_is_refused(attempt: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / files.GONE).write_text(json.dumps([name]))
    tarfile.open(tmp_path / files.ARCHIVE, "w").close()
    before = _tree(attempt)
    with pytest.raises(tarfile.TarError):
        files.lay(tmp_path, attempt, tmp_path / "aside")
    assert _tree(attempt) == before


def test_a_save_is_no_checkpoint_until_it_is_whole_and_then_it_is_private(tmp_path: Path) -> None:
    folder, run = tmp_path / "checkpoints", tmp_path / "run"
    for path in (folder, run):
        path.mkdir()
    watch = FolderWatch(folder, tmp_path / "committed.json")
    draft = saves.draft(folder, 7)
    (draft / "images" / "pages-1.img").write_bytes(b"secret")
    assert watch.scan(0.0, ended_well=True) is None
    saved = saves.complete(draft, run, 1001, 0.4)
    (save,) = notes.take_saves(run)
    assert (save.entry, save.step, save.stall_s) == ("process-7", 7, 0.4)
    watch.finish(save.entry)
    entry = watch.scan(0.0)
    assert entry is not None
    assert (entry.step, entry.final) == (7, True)
    assert saves.read(saved.path) == saved
    assert saved.root_pid == 1001
    assert {file.stat().st_mode & 0o077 for file in saved.path.rglob("*") if file.is_file()} == {0}


def test_the_newest_two_saves_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for number in (1, 2, 3, 4):
        saves.complete(saves.draft(tmp_path / "checkpoints", number), tmp_path / "run", 1001, 0.1)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["process-3", "process-4"]


def test_what_is_no_saved_process_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "process-3").mkdir()
    for name, said in (("step-3", "no saved process"), ("process-3", "lacks its description")):
        with pytest.raises(NotSaved, match=said):
            saves.read(tmp_path / name)


def test_the_first_error_of_crius_log_is_told_and_not_the_harmless_one() -> None:
    log = (
        "Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n"
        "Warn  (criu/kerndat.c:1): something\n"
        "  1064: Error (criu/files-reg.c:2): File lib.so has bad size 1 (expect 2)\n"
        "Error (criu/cr-restore.c:3): Restoring FAILED.\n"
    )
    assert criu.said(log, "code 1") == "File lib.so has bad size 1 (expect 2) (criu/files-reg.c:2)"
    assert criu.said("", "code 1") == "code 1"


def test_a_program_is_left_running_by_a_save_and_ended_by_the_last_one(tmp_path: Path) -> None:
    paths = (tmp_path / "images", tmp_path / "log", tmp_path / "stages.sh")
    stays, ends = (criu.dump(["c"], 1001, *paths, stay=stay) for stay in (True, False))
    assert [word for word in stays if word not in ends] == ["--leave-running"]


def test_a_program_sees_its_folder_in_the_same_place_on_every_node_and_nothing_that_will_be_wrong(
    tmp_path: Path,
) -> None:
    env = {
        "GODWIT_RUN_DIR": f"{tmp_path}/run", "GODWIT_JOB_ID": "job-1", "GODWIT_EPOCH": "3", "PATH": "/bin",
        "GODWIT_CHECKPOINT_DIR": f"{tmp_path}/checkpoints", "GODWIT_INSTANCE_MARK": "m", "RAY_ADDRESS": "a",
    }  # fmt: skip
    seen = as_seen_inside(env, tmp_path)
    assert seen == {
        "GODWIT_RUN_DIR": f"{rooms.HERE}/run", "GODWIT_JOB_ID": "job-1", "PATH": "/bin",
        "TMPDIR": f"{rooms.HERE}/tmp", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def test_the_memory_of_processes_is_summed_and_those_that_are_gone_have_none() -> None:
    assert saves.memory_bytes({1: "Name:\tsh\nVmRSS:\t     100 kB\n", 2: "", 3: "VmRSS:\t5 kB\n"}) == 105 * 1024
