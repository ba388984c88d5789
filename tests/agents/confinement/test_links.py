"""A link that a program leaves leads the agent nowhere that the program may not go."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.store import Store
from godwit.agents.confinement import owner
from godwit.agents.progress import ProgressReader
from godwit.agents.runtime.folder import NO_EXIT_CODE
from godwit.domain.errors import CheckpointDamaged

from tests.agents.confinement import places
from tests.agents.confinement.places import Attempt

pytestmark = places.as_root

Make = Callable[..., Attempt]
WORD = '{"step": 1, "at": 1.0, "credential": "of the node"}\n'


@pytest.fixture
def credential(node_dir: Path) -> Path:
    path = node_dir / "credential"
    path.write_text(WORD)
    path.chmod(0o600)
    return path


def test_an_exit_code_that_is_a_link_is_no_number_and_tells_nothing(attempts: Make, credential: Path) -> None:
    folder = attempts().folder
    (folder.run / "exit_code").symlink_to(credential)
    assert folder.program_exit_code() == NO_EXIT_CODE


def test_progress_is_read_as_the_program_could_read_it(attempts: Make, credential: Path) -> None:
    folder = attempts().folder
    (folder.run / "progress.jsonl").symlink_to(credential)
    assert ProgressReader(folder.run, "att-1").newest() is None
    (folder.run / "progress.jsonl").unlink()
    (folder.run / "progress.jsonl").write_text(WORD)
    owner.give(folder.run / "progress.jsonl", like=folder.run)
    assert ProgressReader(folder.run, "att-1").newest() is not None


def test_a_notice_is_not_written_through_a_link_and_the_order_to_stop_stands(attempts: Make, credential: Path) -> None:
    attempt = attempts()
    (attempt.folder.run / "notice.tmp").symlink_to(credential)
    attempt.custody.stop(1.0)
    assert credential.read_text() == WORD
    assert attempt.custody.stop_was_ordered


@pytest.mark.parametrize("linked", [False, True])
def test_no_checkpoint_holds_what_the_program_may_not_read(
    attempts: Make, credential: Path, tmp_path: Path, linked: bool
) -> None:
    folder = attempts().folder
    entry = folder.checkpoints / "step-1"
    entry.mkdir()
    (entry / "weights").symlink_to(credential)
    for path in (entry, entry / "weights"):
        os.chown(path, *(2 * [attempts("att-1").uid()]), follow_symlinks=False)
    store = Store(f"file://{tmp_path}", {})
    with pytest.raises(OSError, match="weights"):
        commit.commit(store, Author("job-1", "att-1", 1), 1, entry, 1.0, linked=linked)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and WORD in path.read_text()]


def test_what_the_helper_finished_is_linked_and_not_copied(attempts: Make, node_dir: Path) -> None:
    folder = attempts().folder
    entry = folder.checkpoints / "step-1"
    entry.mkdir()
    (entry / "weights").write_text("w")
    owner.give(entry, like=folder.checkpoints)
    store = Store(f"file://{node_dir}/kept/job-1", {})
    manifest = commit.commit(store, Author("job-1", "att-1", 1), 1, entry, 1.0, linked=True)
    kept = store.local_path(f"{manifest.root}/{manifest.files[0].path}")
    assert kept.stat().st_ino == (entry / "weights").stat().st_ino


def test_a_report_of_what_lies_outside_of_the_store_commits_nothing(credential: Path, tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store", {})
    for url in (f"file://{credential.parent}", f"file://{tmp_path}/store/../..", str(credential.parent)):
        with pytest.raises(CheckpointDamaged, match="does not lie in the job's store"):
            commit.commit_in_place(store, Author("job-1", "att-1", 1), 1, url, 1.0)


def test_whoever_acts_as_the_owner_is_itself_again_afterwards(attempts: Make, credential: Path) -> None:
    run = attempts().folder.run
    with pytest.raises(PermissionError), owner.acting(run):
        credential.read_text()
    assert credential.read_text() == WORD
    with owner.acting(run):
        (run / "mine").touch()
    assert (run / "mine").stat().st_uid == run.stat().st_uid
