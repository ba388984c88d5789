"""Checkpoints whose files lie on several nodes are committed once all nodes have stored their own."""

from pathlib import Path

import pytest
from godwit.agents.checkpoints import commit, restore, retention, shards
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.notes import Save
from godwit.agents.checkpoints.restore import Place
from godwit.agents.checkpoints.retention import Keep
from godwit.agents.checkpoints.shards import Shards
from godwit.agents.checkpoints.store import Store
from godwit.domain.checkpoints import Manifest

NOW = 1_790_000_000.0


class Gang:
    """Two nodes, each with shards of its own, and the store."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path, self.now = tmp_path, 0.0
        self.store = Store(f"file://{tmp_path}/store", {})
        self.nodes = [
            Shards(Author("job-1", "att-1", 1), rank, tmp_path / str(rank), lambda: self.now) for rank in (0, 1)
        ]

    def save(self, rank: int, step: int, save_id: int = 7) -> None:
        entry = self.tmp_path / str(rank) / f"checkpoint-{step}"
        entry.mkdir(parents=True, exist_ok=True)
        (entry / f"__{rank}_0.distcp").write_text(f"shard {rank} of step {step}")
        if rank == 0:
            (entry / ".metadata").write_text("where what lies")
        self.nodes[rank].add(Save(step, entry.name, 0.1, parts=2, save_id=save_id, first=rank == 0))

    def send(self, rank: int) -> Manifest | None:
        return self.nodes[rank].send(self.store, NOW)


@pytest.fixture
def gang(tmp_path: Path) -> Gang:
    return Gang(tmp_path)


@pytest.mark.parametrize("order", [(0, 1, 0), (1, 0, 0)])
def test_it_counts_once_the_last_part_is_stored(gang: Gang, order: tuple[int, ...], tmp_path: Path) -> None:
    gang.save(0, 40)
    gang.save(1, 40)
    for rank in order[:-1]:
        gang.send(rank)
    manifest = gang.send(order[-1]) if order[0] == 0 else commit.read(gang.store, (1, 40))
    assert manifest is not None
    assert not any(node.waiting for node in gang.nodes)
    (tmp_path / "target").mkdir()
    found = restore.newest([Place("the store", gang.store, needed=True)], 2, tmp_path / "target").found
    assert found is not None
    assert sorted(path.name for path in found.path.iterdir()) == [".metadata", "__0_0.distcp", "__1_0.distcp"]
    assert (found.path / "__1_0.distcp").read_text() == "shard 1 of step 40"
    assert gang.store.names("parts") in ([], [f"e1-s40-{7}"])


def test_until_then_it_is_no_checkpoint_and_the_first_node_waits(gang: Gang) -> None:
    gang.save(0, 40)
    assert gang.send(0) is None
    assert gang.nodes[0].waiting
    assert commit.orders(gang.store) == []
    gang.now = shards.PARTS_WAIT_S + 1
    assert gang.send(0) is None
    assert not gang.nodes[0].waiting, "the other node is gone: nobody waits for ever"


def test_the_newest_save_overtakes_one_that_never_got_whole(gang: Gang) -> None:
    gang.save(0, 40)
    gang.send(0)
    for rank in (0, 1):
        gang.save(rank, 50, save_id=8)
    gang.send(1)
    assert gang.send(0) is not None
    assert commit.orders(gang.store) == [(1, 50)]


def test_parts_of_an_earlier_save_of_the_step_are_not_mixed_in(gang: Gang) -> None:
    gang.save(1, 40, save_id=1)
    gang.send(1)
    gang.save(0, 40, save_id=2)
    assert gang.send(0) is None
    gang.save(1, 40, save_id=2)
    gang.send(1)
    manifest = gang.send(0)
    assert manifest is not None
    assert manifest.root.endswith("e1-s40-2")


def test_what_never_got_whole_is_swept(gang: Gang) -> None:
    gang.save(1, 10)
    gang.send(1)
    for step in (20, 30):
        for rank in (1, 0):
            gang.save(rank, step)
            gang.send(rank)
    assert commit.orders(gang.store) == [(1, 30), (1, 20)]
    assert retention.retain(gang.store, 1, Keep(1), NOW) == [(1, 20)]
    assert gang.store.names("data") == ["e1-s30-7"]
    assert gang.store.names("parts") == []
