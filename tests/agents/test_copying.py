"""A checkpoint is copied ahead of its job, to a disk and to another store; cut in the middle it goes on."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from godwit.agents.checkpoints import commit, copying, restore
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.copying import Copying, Throttle
from godwit.agents.checkpoints.restore import Place
from godwit.agents.checkpoints.reuse import Reusing
from godwit.agents.checkpoints.store import Store, StoreUnavailable, env_of
from godwit.agents.effects import Copied
from godwit.domain.checkpoints import CheckpointFile, Manifest
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.wire.copies import CopyCheckpoint
from moto.server import ThreadedMotoServer

JOB = "job-1"
KIB = 1024


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    """A real S3 API server over HTTP, with two buckets; yields the environment that reaches it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    env = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"
    }  # fmt: skip
    try:
        for bucket in ("here", "there"):
            Store(f"s3://{bucket}", env)._fs.mkdir(bucket)
        yield env
    finally:
        httpx.post(f"{env['AWS_ENDPOINT_URL']}/moto-api/reset")  # what it holds belongs to the process
        server.stop()


def saved(store: Store, folder: Path, step: int, *, base: bytes = b"base" * KIB) -> Manifest:
    """A checkpoint of two files, one of which is the same in every step."""
    entry = folder / f"step{step}"
    entry.mkdir(parents=True)
    (entry / "base.bin").write_bytes(base)
    (entry / "state.bin").write_bytes(f"state of step {step} ".encode() * KIB)
    return commit.commit(store, Author(JOB, "attempt-1", 1), step, entry, 1.0)


def order(source: Store, **more: object) -> CopyCheckpoint:
    said: dict[str, object] = {"intent_id": "intent-1", "job_id": JOB, "epoch": 1, "stores": [source.url]}
    return CopyCheckpoint.model_validate(said | more)


def kept(node_dir: Path) -> Store:
    return Store(f"file://{node_dir / 'kept' / JOB}", {})


def ahead(node_dir: Path, command: CopyCheckpoint, env: dict[str, str] | None = None) -> tuple[Manifest | None, int]:
    """Copy; returns what is there now, and how many bytes moved."""
    throttle = Throttle(1e12)
    return copying.ahead(command, node_dir, env or {}, throttle), throttle.moved_bytes


def test_the_newest_is_copied_and_the_job_starts_from_the_copy(tmp_path: Path) -> None:
    source = Store(str(tmp_path / "store"), {})
    saved(source, tmp_path, 5)
    newest = saved(source, tmp_path, 10)
    copy, moved = ahead(tmp_path / "node", order(source))
    assert copy is not None
    assert (copy.step, copy.files, moved) == (10, newest.files, newest.size_bytes)
    found = restore.newest([Place("disk", kept(tmp_path / "node"))], 2, tmp_path / "out").found
    assert found is not None
    assert (found.path / "state.bin").read_bytes() == b"state of step 10 " * KIB


def test_without_a_checkpoint_there_is_nothing_to_copy(tmp_path: Path) -> None:
    assert ahead(tmp_path / "node", order(Store(str(tmp_path / "store"), {}))) == (None, 0)


def test_again_it_moves_only_what_is_new(tmp_path: Path) -> None:
    source = Store(str(tmp_path / "store"), {})
    first = saved(source, tmp_path, 5)
    ahead(tmp_path / "node", order(source))
    assert ahead(tmp_path / "node", order(source))[1] == 0, "all of it is there"
    second = saved(source, tmp_path, 10)
    base = next(file for file in first.files if file.path.endswith("base.bin"))
    assert ahead(tmp_path / "node", order(source))[1] == second.size_bytes - base.size_bytes


def test_a_file_that_was_cut_off_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Store(str(tmp_path / "store"), {})
    manifest = saved(source, tmp_path, 5)
    whole = Store.blocks

    def cut(store: Store, path: str, offset: int = 0) -> Iterator[bytes]:
        yield next(iter(whole(store, path, offset)))[: 2 * KIB]
        raise StoreUnavailable("the connection was cut")

    monkeypatch.setattr(Store, "blocks", cut)
    with pytest.raises(StoreUnavailable):
        ahead(tmp_path / "node", order(source))
    assert commit.orders(kept(tmp_path / "node")) == [], "half a copy is no checkpoint"
    monkeypatch.setattr(Store, "blocks", whole)
    assert ahead(tmp_path / "node", order(source))[1] == manifest.size_bytes - 2 * KIB


def test_what_is_not_what_its_manifest_says_is_not_kept(tmp_path: Path) -> None:
    source = Store(str(tmp_path / "store"), {})
    manifest = saved(source, tmp_path, 5)
    source.local_path(f"{manifest.root}/{manifest.files[0].path}").write_bytes(b"else")
    with pytest.raises(CheckpointDamaged):
        ahead(tmp_path / "node", order(source))
    assert commit.orders(kept(tmp_path / "node")) == []


def test_no_more_moves_in_a_second_than_it_may() -> None:
    now, slept = [0.0], list[float]()

    def pause(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    throttle = Throttle(100.0, clock=lambda: now[0], pause=pause)
    for _ in range(5):
        throttle.moved(100)
    assert now[0] == pytest.approx(5.0)


def test_an_order_reports_how_it_ended_and_tries_again_before_that(tmp_path: Path) -> None:
    said, paused = list[Copied](), list[float]()
    source = Store(str(tmp_path / "store"), {})
    saved(source, tmp_path, 5)
    doer = Copying(tmp_path / "node", {}, said.append, paused.append)
    doer.copy(order(source))
    doer.copy(order(source, intent_id="intent-2", stores=["unheard://of"]))
    assert [(one.intent_id, one.worked, one.step) for one in said] == [("intent-1", True, 5), ("intent-2", False, None)]
    assert (len(paused), max(paused)) == (copying.TRIES - 1, copying.PAUSE_MAX_S)


def test_between_buckets_of_one_service_nothing_passes_through_the_node(
    tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = Store(f"s3://here/{JOB}", s3), Store(f"s3://there/{JOB}", s3)
    manifest = saved(source, tmp_path, 5)
    monkeypatch.setattr(Store, "upload", lambda *_args, **_more: pytest.fail("it was uploaded"))
    _, moved = ahead(tmp_path / "node", order(source, to_store=target.url, env=s3))
    assert moved == manifest.size_bytes, "to the disk, and no more"
    monkeypatch.undo()
    found = restore.newest([Place("there", target)], 2, tmp_path / "out").found
    assert found is not None
    assert (found.manifest.step, found.manifest.root) == (5, f"s3://there/{JOB}/data/e1-s5")


def test_from_a_folder_to_a_bucket_it_is_streamed_and_goes_on_after_a_cut(
    tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = Store(str(tmp_path / "store"), {}), Store(f"s3://there/{JOB}", s3)
    manifest, sent, whole = saved(source, tmp_path, 5), list[str](), Store.upload

    def cut(store: Store, path: Path, to: str, name: str, *, linked: bool = False) -> CheckpointFile:
        if sent and len(sent) < 2:
            sent.append("cut")
            raise StoreUnavailable("the connection was cut")
        sent.append(name)
        return whole(store, path, to, name, linked=linked)

    monkeypatch.setattr(Store, "upload", cut)
    command = order(source, to_store=target.url, env=s3)
    with pytest.raises(StoreUnavailable):
        ahead(tmp_path / "node", command)
    assert commit.orders(target) == []
    ahead(tmp_path / "node", command)
    assert len(sent) == 3, "the file that was there was not sent again"
    assert commit.read(target, (1, 5)).files == manifest.files


def test_two_stores_may_be_reached_in_different_ways() -> None:
    env = {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL__DIGITS_B": "http://b"}
    assert env_of("s3://digits-a/x", env)["AWS_ENDPOINT_URL"] == "http://a"
    assert env_of("s3://digits-b/x", env)["AWS_ENDPOINT_URL"] == "http://b"


def test_a_restore_fetches_only_what_does_not_lie_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, fetched = Store(str(tmp_path / "store"), {}), list[str]()
    saved(source, tmp_path, 5)
    ahead(tmp_path / "node", order(source))
    saved(source, tmp_path, 10)
    whole = Store.download

    def noted(store: Store, path: str, target: Path, expected: CheckpointFile) -> None:
        fetched.append(expected.path)
        whole(store, path, target, expected)

    monkeypatch.setattr(Store, "download", noted)
    place = Place("store", Reusing(source, kept(tmp_path / "node")))
    found = restore.newest([place], 2, tmp_path / "out").found
    assert found is not None
    assert found.manifest.step == 10
    assert fetched == ["step10/state.bin"]
