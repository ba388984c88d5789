"""What an attempt left on its node because the store was away is stored once the store is back."""

import stat
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.checkpoints import arrears, commit
from godwit.agents.checkpoints.arrears import GIVEN_UP_S, NAME, Arrears, Owed
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.keeping import Around, Keeping
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.agents.effects import Committed
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.wire.agents import Peer, StartAttempt

NOW = 1_790_000_000.0


class Node:
    """One node's folder, a store that may be away, and what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder / "node", folder / "node" / "kept" / "job-1"
        self.store, self.local = Store(f"file://{folder}/store", {}), Store(f"file://{self.kept}", {})
        self.away = True
        self.told: list[Committed] = []
        self.arrears = Arrears(self.folder, self.told.append, self._opened)
        self._drafts = folder / "drafts"

    def _opened(self, owed: Owed) -> Store:
        if self.away:
            raise StoreUnavailable("nobody answers")
        return owed.opened()

    def command(self, epoch: int = 1, **more: Any) -> StartAttempt:
        fields: dict[str, Any] = {
            "intent_id": "i", "job_id": "job-1", "job_name": "a", "attempt_id": f"att-{epoch}", "epoch": epoch,
            "peers": [Peer(rank=0, node_id="node-0", address="127.0.0.1")], "rank": 0, "gpus": [0], "port": 20_000,
            "ray_token": "secret", "run": "x", "setup": None, "workdir_digest": None, "store": self.store.join(""),
            "env": {"AWS_SECRET_ACCESS_KEY": "hidden"},
        }  # fmt: skip
        return StartAttempt(**fields | more)

    def save(self, store: Store, step: int, epoch: int = 1) -> None:
        entry = self._drafts / f"e{epoch}" / f"checkpoint-{step}"
        entry.mkdir(parents=True, exist_ok=True)
        (entry / "model.pt").write_text(f"state {step}")
        commit.commit(store, Author("job-1", f"att-{epoch}", epoch), step, entry, NOW)

    def owes(self) -> bool:
        return (self.kept / NAME).exists()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_the_store_did_not_take_is_stored_once_it_answers_and_told(node: Node) -> None:
    node.save(node.local, 10)
    node.save(node.local, 20)
    arrears.owe(node.kept, node.command(), NOW)
    assert node.arrears.look(NOW + 1)
    assert node.owes()
    node.away = False
    assert not node.arrears.look(NOW + 2)
    assert commit.orders(node.store) == [(1, 20)]
    assert [(one.attempt_id, one.step) for one in node.told] == [("att-1", 20)]
    assert not node.owes()
    assert not node.arrears.look(NOW + 3)
    assert len(node.told) == 1


def test_what_is_there_already_is_not_stored_again(node: Node) -> None:
    node.away = False
    for store in (node.local, node.store):
        node.save(store, 10)
    arrears.owe(node.kept, node.command(), NOW)
    node.arrears.look(NOW + 1)
    assert (node.told, node.owes()) == ([], False)


def test_what_a_later_attempt_has_left_behind_is_not_needed(node: Node) -> None:
    node.away = False
    node.save(node.local, 20)
    node.save(node.store, 15, epoch=2)
    arrears.owe(node.kept, node.command(), NOW)
    node.arrears.look(NOW + 1)
    assert commit.orders(node.store) == [(2, 15)]
    assert (node.told, node.owes()) == ([], False)


def test_of_a_damaged_copy_the_one_before_is_stored(node: Node) -> None:
    node.away = False
    for step in (10, 20):
        node.save(node.local, step)
    next(node.kept.glob("data/e1-s20/*/model.pt")).write_text("rotten")
    arrears.owe(node.kept, node.command(), NOW)
    node.arrears.look(NOW + 1)
    assert [one.step for one in node.told] == [10]


def test_after_a_day_it_is_given_up(node: Node) -> None:
    node.save(node.local, 10)
    arrears.owe(node.kept, node.command(), NOW)
    assert not node.arrears.look(NOW + GIVEN_UP_S + 1)
    assert (node.told, node.owes()) == ([], False)


def test_a_note_that_makes_no_sense_is_dropped(node: Node) -> None:
    node.kept.mkdir(parents=True)
    (node.kept / NAME).write_text("{")
    assert not node.arrears.look(NOW)
    assert not node.owes()


def test_nobody_else_may_read_what_opens_the_store(node: Node) -> None:
    arrears.owe(node.kept, node.command(), NOW)
    assert stat.S_IMODE((node.kept / NAME).stat().st_mode) == 0o600


def test_an_attempt_that_ends_without_its_store_owes_and_the_next_one_here_takes_over(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_keeping: Keeping) -> Store:
        raise StoreUnavailable("nobody answers")

    monkeypatch.setattr(Keeping, "_open_store", refuse)

    def attempt(epoch: int) -> Keeping:
        folder = AttemptFolder(node.folder, f"att-{epoch}")
        folder.make()
        made = Keeping(node.command(epoch), folder, Around(lambda _event: None, {}, lambda: True))
        made.open()
        return made

    first = attempt(1)
    entry = AttemptFolder(node.folder, "att-1").checkpoints / "checkpoint-7"
    entry.mkdir(parents=True)
    (entry / "model.pt").write_text("state 7")
    first.start()
    first.finish(0.5, ended_well=True)
    assert node.owes()
    attempt(2)
    assert not node.owes()
