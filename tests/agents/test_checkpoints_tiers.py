"""A copy on this disk at once, one on a peer, one in the store; back from the nearest that is whole."""

import contextlib
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from godwit.agents.checkpoints import choice, commit, committer, keeping, peers, restore
from godwit.agents.checkpoints.choice import HeadSilent
from godwit.agents.checkpoints.commit import Author
from godwit.agents.checkpoints.committer import Committer, Tiers, Told
from godwit.agents.checkpoints.keeping import Keeping
from godwit.agents.checkpoints.pace import Pace
from godwit.agents.checkpoints.restore import Place
from godwit.agents.checkpoints.shards import Shards
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.agents.checkpoints.watch import FolderWatch
from godwit.agents.effects import Committed, Deleted, Restored
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.checkpoints import Manifest
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.wire import agents as wire
from godwit.domain.wire.agents import StartAttempt
from godwit.domain.wire.saving import Saving

NOW = 1_790_000_000.0


def write_entry(folder: Path, name: str, content: str = "weights") -> Path:
    entry = folder / name
    entry.mkdir(parents=True)
    (entry / "model.pt").write_text(content)
    return entry


def put(store: Store, step: int, content: str, tmp_path: Path, epoch: int = 1) -> Manifest:
    entry = write_entry(tmp_path / "made", f"checkpoint-{step}", content)
    manifest = commit.commit(store, Author("job-1", f"att-{epoch}", epoch), step, entry, NOW)
    shutil.rmtree(entry)
    return manifest


def spoil(store: Store, manifest: Manifest) -> None:
    store.local_path(f"{manifest.root}/{manifest.files[0].path}").write_text("rotten")


class Silent:
    """A place that does not answer."""

    def join(self, *parts: str) -> str:
        return "/".join(parts)

    def names(self, folder: str) -> list[str]:
        raise StoreUnavailable(f"nobody answers for {folder}")

    read_text: Any = names
    download: Any = names


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "SCAN_S", 0.02)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/kept", {})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/store", {})


def search(places: list[Place], tmp_path: Path, below_epoch: int = 2) -> tuple[int, str, str] | None:
    """(step, place, content) of what is restored."""
    target = tmp_path / "target"
    target.mkdir(exist_ok=True)
    found = restore.newest(places, below_epoch, target).found
    return None if found is None else (found.manifest.step, found.place, (found.path / "model.pt").read_text())


def test_the_nearest_place_that_has_the_newest_whole_is_taken(local: Store, store: Store, tmp_path: Path) -> None:
    places = [Place("disk", local), Place("store", store, needed=True)]
    put(local, 10, "ten", tmp_path)
    put(store, 10, "ten", tmp_path)
    assert search(places, tmp_path) == (10, "disk", "ten")
    spoil(local, commit.read(local, (1, 10)))
    assert search(places, tmp_path) == (10, "store", "ten")
    put(store, 20, "twenty", tmp_path)
    assert search(places, tmp_path) == (20, "store", "twenty")
    put(local, 30, "thirty", tmp_path)
    assert search(places, tmp_path) == (30, "disk", "thirty"), "it never reached the store"


def test_one_that_is_whole_nowhere_gives_way_to_the_one_before(local: Store, store: Store, tmp_path: Path) -> None:
    places = [Place("disk", local), Place("store", store, needed=True)]
    put(store, 10, "ten", tmp_path)
    spoil(local, put(local, 20, "twenty", tmp_path))
    spoil(store, put(store, 20, "twenty", tmp_path))
    (tmp_path / "target").mkdir()
    found = restore.newest(places, 2, tmp_path / "target")
    assert found.found is not None
    assert (found.found.manifest.step, found.damaged) == (10, (commit.manifest_url(store, 1, 20),))


def test_without_the_store_only_a_copy_of_the_epoch_before_is_surely_the_newest(local: Store, tmp_path: Path) -> None:
    places = [Place("disk", local), Place("store", Silent(), needed=True)]
    put(local, 10, "ten", tmp_path, epoch=1)
    with pytest.raises(StoreUnavailable):
        search(places, tmp_path, below_epoch=3)
    put(local, 12, "twelve", tmp_path, epoch=2)
    assert search(places, tmp_path, below_epoch=3) == (12, "disk", "twelve")


def test_a_peer_that_does_not_answer_is_passed_over(store: Store, tmp_path: Path) -> None:
    put(store, 10, "ten", tmp_path)
    assert search([Place("peer", Silent()), Place("store", store, needed=True)], tmp_path) == (10, "store", "ten")


def test_this_very_checkpoint_is_not_another_of_the_same_step(local: Store, store: Store, tmp_path: Path) -> None:
    put(local, 10, "one", tmp_path)
    wanted = put(store, 10, "other", tmp_path)
    (tmp_path / "target").mkdir()
    found = restore.exactly([Place("disk", local), Place("store", store)], wanted, tmp_path / "target")
    assert found is not None
    assert (found.place, (found.path / "model.pt").read_text()) == ("store", "other")
    assert restore.exactly([Place("disk", local)], wanted, tmp_path / "target") is None


def test_what_is_sent_on_is_the_same_checkpoint_and_a_rotten_copy_is_not_sent(
    local: Store, store: Store, tmp_path: Path
) -> None:
    here = put(local, 10, "ten", tmp_path)
    there = commit.forward(local, here, store, ("node-0", "node-1"))
    assert (there.order, there.files, there.attempt_id) == (here.order, here.files, here.attempt_id)
    assert commit.read(store, (1, 10)).replicas == ("node-0", "node-1")
    spoil(local, here)
    with pytest.raises(CheckpointDamaged):
        commit.forward(local, here, store, ())


class Program:
    """A program's folders, the committer beside it, and a store that can be away."""

    def __init__(self, tmp_path: Path, local: Store, store: Store) -> None:
        self.checkpoints, self.run = tmp_path / "checkpoints", tmp_path / "run"
        self.checkpoints.mkdir()
        (self.run / "saves").mkdir(parents=True)
        self.store, self.local, self.away = store, local, False
        self.committed: list[Committed] = []
        self.gone: list[Deleted] = []
        self.said: list[str] = []
        self.committer = self.new_committer(tmp_path)

    def new_committer(self, tmp_path: Path) -> Committer:
        return Committer(
            Tiers(self.local, self._open, lambda _manifest: ("node-0",), keep=2),
            Shards(Author("job-1", "att-1", 1), 0, self.checkpoints),
            FolderWatch(self.checkpoints, tmp_path / "committed.json"),
            self.run,
            Pace(Saving(), self.run),
            Told(self.committed.append, self.said.append, self.gone.append),
        )

    def _open(self) -> Store:
        if self.away:
            raise StoreUnavailable("nobody answers")
        return self.store

    def save(self, step: int, **note: Any) -> None:
        """What the in-job helper does."""
        write_entry(self.checkpoints, f"draft-{step}.tmp", f"state {step}").rename(
            self.checkpoints / f"checkpoint-{step}"
        )
        text = json.dumps({"step": step, "entry": f"checkpoint-{step}", "stall_s": 0.5, "parts": 1} | note)
        (self.run / "saves" / "draft").write_text(text)
        (self.run / "saves" / "draft").rename(self.run / "saves" / f"{step}.json")

    def steps(self, store: Store) -> list[int]:
        return [step for _, step in reversed(commit.orders(store))]


@pytest.fixture
def program(tmp_path: Path, local: Store, store: Store) -> Iterator[Program]:
    program = Program(tmp_path, local, store)
    yield program
    program.committer.abandon()


def test_with_the_store_away_copies_stay_here_and_the_newest_is_sent_when_it_is_back(
    program: Program, eventually: Callable[..., Any]
) -> None:
    program.away = True
    program.committer.start()
    for step in (1, 2, 3, 4):
        program.save(step)
        eventually(lambda step=step: step in program.steps(program.local))
    # The newest two, and the one that was being sent.
    eventually(lambda: len(program.steps(program.local)) <= 3 and program.steps(program.local)[-2:] == [3, 4])
    assert (program.committed, program.steps(program.store)) == ([], [])
    eventually(lambda: len(program.said) == 1)
    program.away = False
    eventually(lambda: program.committed)
    assert [seen.step for seen in program.committed] == [4]
    assert "kept on this node" in program.said[0]
    assert "answers again; step 4" in eventually(lambda: program.said[1:])[0]
    assert commit.read(program.store, (1, 4)).replicas == ("node-0",)


def test_the_store_keeps_as_many_as_the_owner_wants(program: Program, eventually: Callable[..., Any]) -> None:
    program.committer.start()
    for step in (1, 2, 3, 4):
        program.save(step)
        eventually(lambda step=step: step in program.steps(program.store))
    assert program.committer.finish(30, ended_well=True)
    assert program.steps(program.store) == [3, 4]
    gone = [url for told in program.gone for url in told.manifest_urls]
    assert gone == [commit.manifest_url(program.store, 1, step) for step in (1, 2)]


def test_without_room_for_a_copy_here_it_goes_straight_to_the_store(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(total=100, used=99, free=1))
    write_entry(program.checkpoints, "model-12")
    program.committer.start()
    assert program.committer.finish(60, ended_well=True)
    assert (program.steps(program.local), program.steps(program.store)) == ([], [12])


def test_at_the_end_what_the_helper_finished_is_stored_though_the_program_was_killed(program: Program) -> None:
    program.save(9)
    write_entry(program.checkpoints, "half-written-12")
    program.committer.start()
    assert program.committer.finish(30, ended_well=False)
    assert [seen.step for seen in program.committed] == [9]


def test_a_good_end_stores_everything_that_is_there(program: Program) -> None:
    write_entry(program.checkpoints, "model-12")
    program.committer.start()
    assert program.committer.finish(30, ended_well=True)
    assert [seen.step for seen in program.committed] == [12]


def test_an_end_without_a_store_leaves_the_copy_here(program: Program, eventually: Callable[..., Any]) -> None:
    program.away = True
    program.save(9)
    program.committer.start()
    eventually(lambda: program.steps(program.local))
    assert not program.committer.finish(0.2, ended_well=False)
    assert program.steps(program.local) == [9]


def test_another_agent_sends_what_the_one_before_it_kept_and_only_that(
    program: Program, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    program.away = True
    program.save(5)
    program.committer.start()
    eventually(lambda: program.steps(program.local) == [5])
    program.committer.abandon()
    for thread in program.committer._threads:
        thread.join(30)
    program.away = False
    program.committer = program.new_committer(tmp_path)
    program.committer.start()
    eventually(lambda: program.committed)
    program.committer = program.new_committer(tmp_path)
    program.committer.start()
    eventually(lambda: len(program.committed) == 2)
    assert [path.name for path in program.store.local_path("data").iterdir()] == ["e1-s5"], "it was not sent again"


def test_what_an_attempt_was_restored_from_reaches_the_store_too(program: Program, tmp_path: Path) -> None:
    owed = put(program.local, 7, "of the attempt before", tmp_path, epoch=0)
    program.committer.owed = owed
    program.committer.start()
    assert program.committer.finish(30, ended_well=False)
    assert commit.orders(program.store) == [(0, 7)]
    assert program.committed == [], "it is not this attempt's"


def test_the_interval_follows_what_saves_cost(program: Program, eventually: Callable[..., Any]) -> None:
    program.committer.start()
    program.save(1, stall_s=200.0)
    told = eventually(lambda: (program.run / "cadence.json").exists() and _read(program.run / "cadence.json"))
    assert told["interval_s"] == 3600.0
    eventually(lambda: program.committed)
    program.save(2, stall_s=0.0)
    eventually(lambda: _read(program.run / "cadence.json")["stall_s"] == 100.0)


def _read(path: Path) -> dict[str, float]:
    return dict(json.loads(path.read_text()))


def test_notes_that_make_no_sense_are_dropped(program: Program) -> None:
    for index, text in enumerate(("nonsense", "{}", '{"step": -1, "entry": "x", "stall_s": 1}')):
        (program.run / "saves" / f"{index}.json").write_text(text)
    program.committer.start()
    assert program.committer.finish(30, ended_well=False)
    assert list((program.run / "saves").iterdir()) == []


class Gang:
    """Nodes on this machine, each with a folder and an address of its own."""

    def __init__(self, tmp_path: Path, count: int = 2) -> None:
        self.tmp_path, self.count = tmp_path, count
        self.port = _free_port() - 4
        self.heard: list[Any] = []
        self.going = True
        self.opened: list[Keeping] = []

    def command(self, rank: int, epoch: int, **more: Any) -> StartAttempt:
        gang = [wire.Peer(rank=r, node_id=f"node-{r}", address=f"127.31.7.{10 + r}") for r in range(self.count)]
        fields: dict[str, Any] = {
            "intent_id": "i", "job_id": "job-1", "job_name": "a", "attempt_id": f"att-{epoch}", "epoch": epoch,
            "peers": gang, "rank": rank, "gpus": [0], "port": self.port, "ray_token": f"secret-{epoch}", "run": "x",
            "setup": None, "workdir_digest": None, "env": {}, "store": f"file://{self.tmp_path}/store",
        }  # fmt: skip
        return StartAttempt(**fields | more)

    def keeping(self, rank: int, epoch: int, node: int | None = None, **more: Any) -> Keeping:
        """The checkpoints of rank `rank`, on the disk of node `node`."""
        folder = AttemptFolder(self.tmp_path / f"node-{rank if node is None else node}", f"att-{epoch}")
        folder.make()
        around = keeping.Around(self.heard.append, {}, lambda: self.going)
        made = Keeping(self.command(rank, epoch, **more), folder, around)
        made.open()
        self.opened.append(made)
        return made

    def restored(self, rank: int, epoch: int) -> str | None:
        note = AttemptFolder(self.tmp_path / f"node-{rank}", f"att-{epoch}").run / "restored"
        return (Path(note.read_text()) / "model.pt").read_text() if note.exists() else None

    def kept(self, node: int) -> Store:
        return Store(f"file://{self.tmp_path}/node-{node}/kept/job-1", {})

    def close(self) -> None:
        self.going = False
        for one in self.opened:
            one.abandon()
            one.close()


def _free_port() -> int:
    """A port that is free on the addresses of both nodes."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.31.7.10", 0))
            with contextlib.suppress(OSError):
                second.bind(("127.31.7.11", first.getsockname()[1]))
                return int(first.getsockname()[1])


@pytest.fixture
def gang(tmp_path: Path) -> Iterator[Gang]:
    gang = Gang(tmp_path)
    yield gang
    gang.close()


def keep_now(gang: Gang) -> None:
    """Save a checkpoint of step 5 in the first attempt, and wait until the peer has it."""
    lead, _ = gang.keeping(0, 1), gang.keeping(1, 1)
    lead.start()
    folder = AttemptFolder(gang.tmp_path / "node-0", "att-1")
    write_entry(folder.checkpoints, "checkpoint-5", "state 5")
    note = {"step": 5, "entry": "checkpoint-5", "stall_s": 0.1}
    (folder.run / "saves").mkdir()
    (folder.run / "saves" / "1.json").write_text(json.dumps(note))
    lead.finish(30, ended_well=False)
    for one in gang.opened:
        one.close()


def start_together(gang: Gang, epoch: int, ranks: tuple[int, ...] = (0, 1)) -> list[Restored]:
    """Restore on all ranks at once, as their agents do; returns what rank 0 told."""
    gang.heard.clear()
    keepings = [gang.keeping(rank, epoch) for rank in ranks]
    with ThreadPoolExecutor(len(keepings)) as pool:
        for done in [pool.submit(one.restore) for one in keepings]:
            done.result(60)
    return [event for event in gang.heard if isinstance(event, Restored)]


def test_a_copy_goes_to_the_next_node_and_the_manifest_says_so(gang: Gang) -> None:
    keep_now(gang)
    assert commit.orders(gang.kept(1)) == [(1, 5)]
    stored = commit.read(Store(f"file://{gang.tmp_path}/store", {}), (1, 5))
    assert stored.replicas == ("node-0", "node-1")


def test_with_the_store_and_the_first_node_lost_the_peer_has_it(gang: Gang, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PEERS_WAIT_S", 60.0)  # a slow machine's threads need more than the usual
    keep_now(gang)
    shutil.rmtree(gang.tmp_path / "store")
    shutil.rmtree(gang.tmp_path / "node-0")
    (told,) = start_together(gang, 2)
    assert (told.step, told.from_epoch) == (5, 1)
    assert (gang.restored(0, 2), gang.restored(1, 2)) == ("state 5", "state 5")
    assert "from node node-1" in AttemptFolder(gang.tmp_path / "node-0", "att-2").output.read_text()


def test_all_ranks_start_from_what_rank_0_chose(gang: Gang, tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store", {})
    put(store, 10, "ten", tmp_path)
    put(gang.kept(0), 20, "twenty", tmp_path)  # it never reached the store
    put(gang.kept(1), 10, "other ten", tmp_path)
    (told,) = start_together(gang, 2)
    assert told.step == 20
    assert (gang.restored(0, 2), gang.restored(1, 2)) == ("twenty", "twenty")
    entries = AttemptFolder(tmp_path / "node-1", "att-2").checkpoints.iterdir()
    assert [path.name for path in entries] == ["checkpoint-20"], "what it had found itself is gone"


def test_a_node_whose_head_says_nothing_does_not_start_from_something_else(
    gang: Gang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "HEAD_WAIT_S", 0.3)
    put(Store(f"file://{tmp_path}/store", {}), 10, "ten", tmp_path)
    with pytest.raises(HeadSilent):
        start_together(gang, 2, ranks=(1,))
    assert gang.restored(1, 2) is None


def test_what_rank_0_chose_is_in_the_store_for_nodes_that_cannot_reach_it(gang: Gang, tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store", {})
    put(store, 10, "ten", tmp_path)
    lead = gang.keeping(0, 2)
    lead.restore()
    lead.close()
    gang.keeping(1, 2).restore()
    assert gang.restored(1, 2) == "ten"
    lead = gang.keeping(0, 3)
    lead.restore()
    assert store.names("chosen") == ["e000003.json"]


def test_a_copy_that_would_fill_the_disk_is_not_taken(gang: Gang, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "FREE_SHARE_MIN", 2.0)
    keep_now(gang)
    assert commit.orders(gang.kept(1)) == []
    assert commit.read(Store(f"file://{gang.tmp_path}/store", {}), (1, 5)).replicas == ("node-0",)


def test_all_ranks_start_from_nothing_when_rank_0_does(gang: Gang) -> None:
    (told,) = start_together(gang, 2)
    assert told.step is None
    assert (gang.restored(0, 2), gang.restored(1, 2)) == (None, None)


def test_peers_answer_only_who_knows_the_attempts_token_and_nothing_outside_of_the_copies(
    gang: Gang, tmp_path: Path
) -> None:
    put(gang.kept(0), 20, "twenty", tmp_path)
    gang.keeping(0, 2)
    (tmp_path / "node-0" / "credential").write_text("secret")
    url = f"http://127.31.7.10:{gang.port + 4}"
    token = peers.token_of("secret-2")
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        assert client.get("/names/manifests").status_code == 401
        assert client.post("/copies", json={"manifest": "x", "rank": 1}).status_code == 401
        wrong = {"Authorization": f"Bearer {peers.token_of('secret-1')}"}
        assert client.get("/names/manifests", headers=wrong).status_code == 401
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/names/manifests").json() == [commit.manifest_name((1, 20))]
        for path in ("../../credential", f"{tmp_path}/node-0/credential", f"file://{tmp_path}/node-0/credential", ""):
            assert client.get("/files", params={"path": path}).status_code == 404, path
        assert client.get("/names/..").status_code in (200, 404)
        assert client.get("/names/../..").status_code == 404
        assert client.get("/start").status_code == 204
        assert client.post("/copies", json={"manifest": "../x", "rank": 0}).status_code == 409
        assert client.post("/copies").status_code == 400
    assert "secret" not in token


def test_copies_of_jobs_that_were_not_here_for_a_day_are_removed(tmp_path: Path) -> None:
    for job in ("job-1", "job-2", "job-3"):
        (tmp_path / "kept" / job / "manifests").mkdir(parents=True)
    later = (tmp_path / "kept" / "job-1").stat().st_mtime + keeping.KEPT_S + 60
    (tmp_path / "kept" / "job-3" / "manifests" / "fresh").write_text("")
    keeping.clear(tmp_path, later - 120)
    assert len(list((tmp_path / "kept").iterdir())) == 3
    keeping.clear(tmp_path, later, but="job-2")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["job-2"]
