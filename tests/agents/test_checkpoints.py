"""Commit and restore: a manifest written last, verified reads, falling back, and epochs that outrank time."""

import os
import random
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.checkpoints import commit, restore
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.agents.checkpoints.watch import FolderWatch, step_of
from moto.server import ThreadedMotoServer

NOW = 1_790_000_000.0


def author(epoch: int = 1) -> Author:
    return Author("job-1", f"att-{epoch}", epoch)


def write_entry(folder: Path, name: str, content: str = "weights") -> Path:
    entry = folder / name
    (entry / "deep").mkdir(parents=True)
    (entry / "model.pt").write_text(content)
    (entry / "deep" / "rng.json").write_text(content * 2)
    return entry


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """A real S3 API server over HTTP, with one bucket; yields the environment that reaches it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    env = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    try:
        request = urllib.request.Request(f"{env['AWS_ENDPOINT_URL']}/jobs", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        yield env
    finally:
        server.stop()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(f"file://{tmp_path}/store", {})
    return Store(f"s3://jobs/{random.getrandbits(40):x}", request.getfixturevalue("bucket"))


def restored(store: Store, below_epoch: int, tmp_path: Path) -> restore.Search:
    target = tmp_path / f"target-{random.getrandbits(40):x}"
    target.mkdir()
    return restore.newest([restore.Place("the store", store, needed=True)], below_epoch, target)


def overwrite(store: Store, url: str, text: str) -> None:
    store.write_text(url, text)


def test_what_was_committed_comes_back_byte_for_byte_under_its_name(store: Store, tmp_path: Path) -> None:
    manifest = commit.commit(store, author(), 40, write_entry(tmp_path, "checkpoint-40"), NOW)
    assert manifest.size_bytes == 7 + 14
    found = restored(store, 2, tmp_path).found
    assert found is not None
    assert found.path.name == "checkpoint-40"
    assert (found.path / "model.pt").read_text() == "weights"
    assert (found.path / "deep" / "rng.json").read_text() == "weightsweights"
    assert store.exists(found.manifest_url)


def test_a_single_file_is_a_checkpoint_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "step-7.pt").write_bytes(os.urandom(3000))
    commit.commit(store, author(), 7, tmp_path / "step-7.pt", NOW)
    found = restored(store, 2, tmp_path).found
    assert found is not None
    assert found.path.read_bytes() == (tmp_path / "step-7.pt").read_bytes()


@pytest.mark.parametrize("damage", ["flipped", "shorter", "missing", "manifest"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(store: Store, tmp_path: Path, damage: str) -> None:
    commit.commit(store, author(), 10, write_entry(tmp_path, "checkpoint-10", "ten"), NOW)
    newest = commit.commit(store, author(), 20, write_entry(tmp_path, "checkpoint-20", "twenty"), NOW)
    url = commit.manifest_url(store, 1, 20)
    file = f"{newest.root}/checkpoint-20/model.pt"
    if damage == "manifest":
        overwrite(store, url, newest.to_json()[:50])
    elif damage == "missing":
        store._fs.rm(store._path(file))
    else:
        overwrite(store, file, "twentY" if damage == "flipped" else "twe")
    search = restored(store, 2, tmp_path)
    assert search.found is not None
    assert (search.found.manifest.step, search.damaged) == (10, (url,))
    assert sorted(p.name for p in search.found.path.parent.iterdir()) == ["checkpoint-10"]


def test_files_without_a_manifest_are_no_checkpoint(store: Store, tmp_path: Path) -> None:
    entry = write_entry(tmp_path, "checkpoint-10")
    store.upload(entry / "model.pt", "data/e1-s10/checkpoint-10/model.pt", "checkpoint-10/model.pt")
    assert restored(store, 2, tmp_path) == restore.Search(None, ())
    commit.commit(store, author(), 10, entry, NOW)
    assert restored(store, 2, tmp_path).found is not None


def test_what_an_older_epoch_writes_late_never_wins(store: Store, tmp_path: Path) -> None:
    commit.commit(store, author(2), 50, write_entry(tmp_path, "checkpoint-50"), NOW)
    commit.commit(store, author(1), 90, write_entry(tmp_path, "checkpoint-90"), NOW + 60)
    found = restored(store, 3, tmp_path).found
    assert found is not None
    assert (found.manifest.epoch, found.manifest.step) == (2, 50)


def test_an_attempt_does_not_restore_from_its_own_or_a_newer_epoch(store: Store, tmp_path: Path) -> None:
    commit.commit(store, author(2), 50, write_entry(tmp_path, "checkpoint-50"), NOW)
    assert restored(store, 2, tmp_path).found is None


def test_a_step_committed_again_leaves_the_first_files_alone(store: Store, tmp_path: Path) -> None:
    first = commit.commit(store, author(), 5, write_entry(tmp_path, "last", "one"), NOW)
    shutil.rmtree(tmp_path / "last")
    again = commit.commit(store, author(), 5, write_entry(tmp_path, "last", "two"), NOW)
    assert first.root != again.root
    found = restored(store, 2, tmp_path).found
    assert found is not None
    assert (found.path / "model.pt").read_text() == "two"


def test_files_that_lie_in_the_store_are_committed_in_place(store: Store, tmp_path: Path) -> None:
    entry = write_entry(tmp_path, "checkpoint_000003")
    url = store.join("ray", "e1", "run", "checkpoint_000003")
    for path in ("model.pt", "deep/rng.json"):
        store.upload(entry / path, f"{url}/{path}", "")
    manifest = commit.commit_in_place(store, author(), 30, url, NOW)
    assert manifest.root == store.join("ray", "e1", "run")
    found = restored(store, 2, tmp_path).found
    assert found is not None
    assert (found.path.name, (found.path / "deep" / "rng.json").read_text()) == ("checkpoint_000003", "weightsweights")


def test_a_manifest_whose_paths_leave_the_folder_is_damage(store: Store, tmp_path: Path) -> None:
    manifest = commit.commit(store, author(), 5, write_entry(tmp_path, "c-5"), NOW)
    overwrite(store, commit.manifest_url(store, 1, 5), manifest.to_json().replace("c-5/deep", "c-5/../../deep"))
    assert restored(store, 2, tmp_path).found is None


def test_a_store_that_does_not_answer_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    env |= {"AWS_MAX_ATTEMPTS": "1"}
    with pytest.raises(StoreUnavailable):
        restored(Store("s3://jobs/x", env), 2, tmp_path)


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Path, Callable[[], FolderWatch]]:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder, lambda: FolderWatch(folder, tmp_path / "committed.json")


def test_an_entry_is_complete_once_it_was_quiet_for_a_second(watched: Any) -> None:
    folder, make = watched
    watch = make()
    write_entry(folder, "checkpoint-5")
    assert watch.scan(100.0) is None
    assert watch.scan(100.9) is None
    (folder / "checkpoint-5" / "more.pt").write_text("still writing")
    assert watch.scan(101.0) is None
    entry = watch.scan(102.0)
    assert (entry.path.name, entry.step) == ("checkpoint-5", 5)
    watch.committed(entry)
    assert watch.scan(110.0) is None


def test_drafts_hidden_files_links_and_empty_folders_are_no_checkpoints(watched: Any) -> None:
    folder, make = watched
    (folder / "a-1.tmp").write_text("x")
    (folder / ".hidden-2").write_text("x")
    (folder / "empty-3").mkdir()
    (folder / "link-4").symlink_to("/etc/passwd")
    watch = make()
    watch.scan(1.0)
    assert watch.scan(9.0) is None


def test_the_newest_wins_when_the_committer_is_behind(watched: Any) -> None:
    folder, make = watched
    for step in (1, 2, 3):
        entry = write_entry(folder, f"checkpoint-{step}")
        for path in (entry / "model.pt", entry / "deep" / "rng.json"):
            os.utime(path, (step, step))
    watch = make()
    watch.scan(1.0)
    entry = watch.scan(2.5)
    assert entry.step == 3
    watch.committed(entry)
    assert watch.scan(9.0) is None


def test_an_entry_that_could_not_be_stored_is_offered_again(watched: Any) -> None:
    folder, make = watched
    write_entry(folder, "checkpoint-5")
    watch = make()
    watch.scan(1.0)
    entry = watch.scan(2.0)
    watch.failed(entry)
    assert watch.scan(2.5) == entry


def test_the_restored_entry_is_not_committed_again_also_after_a_restart(watched: Any) -> None:
    folder, make = watched
    write_entry(folder, "checkpoint-5")
    make().know("checkpoint-5")
    again = make()
    again.scan(1.0)
    assert again.scan(9.0) is None
    (folder / "unnumbered").write_text("x")
    again.scan(10.0)
    assert again.scan(12.0).step == 6


def test_what_the_helper_says_is_complete_need_not_be_quiet_and_may_be_linked(watched: Any) -> None:
    folder, make = watched
    write_entry(folder, "checkpoint-5")
    watch = make()
    watch.finish("checkpoint-5")
    entry = watch.scan(1.0)
    assert (entry.step, entry.final) == (5, True)
    watch.committed(entry)
    (folder / "checkpoint-5" / "more").write_text("by somebody else")
    assert watch.scan(1.5) is None


def test_a_link_is_a_second_name_of_the_same_file(tmp_path: Path) -> None:
    local = Store(f"file://{tmp_path}/kept", {})
    entry = write_entry(tmp_path, "checkpoint-5")
    manifest = commit.commit(local, author(), 5, entry, NOW, linked=True)
    assert local.local_path(f"{manifest.root}/checkpoint-5/model.pt").samefile(entry / "model.pt")
    copied = commit.commit(local, author(), 6, entry, NOW)
    assert not local.local_path(f"{copied.root}/checkpoint-5/model.pt").samefile(entry / "model.pt")


def test_after_a_good_end_nothing_has_to_be_waited_for(watched: Any) -> None:
    folder, make = watched
    write_entry(folder, "checkpoint-9")
    assert make().scan(1.0, ended_well=True).step == 9


@pytest.mark.parametrize(
    ("name", "step"),
    [("checkpoint-40", 40), ("epoch3_step40.pt", 40), ("last.ckpt", 99), ("ckpt_00012.safetensors", 12), ("m.pt2", 99)],
)
def test_the_step_is_the_last_integer_of_the_name(name: str, step: int) -> None:
    assert step_of(name, 99) == step
