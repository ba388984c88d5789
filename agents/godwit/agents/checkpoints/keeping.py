"""Everything about the checkpoints of one attempt on one node: restore before it starts, keep and send while it runs.

    <node>/kept/<job>/      this node's copies, laid out as a store is; they outlive attempts, for the next one here

In a gang, rank 0 chooses what to start from and the others ask it: all start from the same checkpoint, each having
brought it from where it is nearest. They look for themselves meanwhile, and are right unless somebody wrote or
something broke in between. Rank 0 says it at its server and in the store (`chosen/`).
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog
from godwit.agents.checkpoints import arrears, choice, copying, peers, restore, retention
from godwit.agents.checkpoints.commit import Author, Order
from godwit.agents.checkpoints.committer import Committer, Tiers, Told
from godwit.agents.checkpoints.pace import Pace
from godwit.agents.checkpoints.peers import Peer, Server
from godwit.agents.checkpoints.restore import Found, Place, Search
from godwit.agents.checkpoints.retention import Keep
from godwit.agents.checkpoints.reuse import Reusing
from godwit.agents.checkpoints.shards import Shards
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.agents.checkpoints.watch import FolderWatch
from godwit.agents.confinement import owner
from godwit.agents.effects import Restored, RuntimeEvent
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.guard import write_whole
from godwit.domain.checkpoints import Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.wire.agents import StartAttempt

log = structlog.get_logger()

KEPT_S = 24 * 3600.0
"""How long copies stay of a job that does not run here: its next attempt comes within minutes, or elsewhere."""

PEERS_WAIT_S = 3.0
"""How long rank 0 waits for the others to say what they have: their agents hear of the start within a second."""

PEERS_ASKED = 16
"""Peers that are asked for copies: each checkpoint lies on two nodes, and who has one is most often still near."""

ASK_AGAIN_S = 0.1

PEER_COPIES = 1
"""Copies of a peer's that stay here: it has older ones itself, and the store has them."""


@dataclass(frozen=True)
class Around:
    """What it needs of its attempt: who hears of it, the store's environment, and whether to go on waiting."""

    emit: Callable[[RuntimeEvent], None]
    env: Mapping[str, str]
    going_on: Callable[[], bool]


class Keeping:
    """Checkpoints of one attempt; `open`, `restore` and `start` once each, then `finish` or `abandon`, and `close`."""

    def __init__(self, command: StartAttempt, folder: AttemptFolder, around: Around) -> None:
        self._command, self._folder, self._around = command, folder, around
        self._kept = folder.node_dir / "kept" / quote(command.job_id, safe="")
        self._local = Store(f"file://{self._kept}", {})
        self._watch = FolderWatch(folder.checkpoints, folder.root / "committed.json")
        self._server: Server | None = None
        self._next = _next_peer(command)
        self._committer = Committer(
            Tiers(self._local, self._open_store, self._offer, command.saving.keep),
            Shards(Author(command.job_id, command.attempt_id, command.epoch), command.rank, folder.checkpoints),
            self._watch if command.rank == 0 else None,
            folder.run,
            Pace(command.saving, folder.run),
            Told(around.emit, folder.notice, around.emit),
        )

    def open(self) -> None:
        """Make room, and let the gang's other nodes ask for copies from here on."""
        clear(self._folder.node_dir, time.time(), but=self._kept.name)
        self._kept.mkdir(parents=True, exist_ok=True)
        arrears.take_over(self._kept)
        if len(self._command.peers) < 2 and not self._command.bends:
            return
        address = next(peer.address for peer in self._command.peers if peer.rank == self._command.rank)
        token = peers.token_of(self._command.ray_token)
        try:
            self._server = Server(address, peers.port_of(self._command), token, self._local, self._fetch)
        except OSError as exc:
            log.warning("no copies for peers: the port cannot be used", reason=str(exc), port=self._command.port + 4)
            return
        chosen = self._folder.root / "chosen.json"
        if chosen.exists():  # an earlier agent chose
            self._server.choose(chosen.read_text())

    def restore_older(self) -> str:
        """Put the checkpoint before the last one where the program looks, since that one could not be used here.

        Returns its path, "" when there is none. Raises `StoreUnavailable`.
        """
        last = (self._folder.root / "chosen.json").read_text()
        if last == choice.NOTHING:
            return ""
        found = self._restored(self._lead(before=manifest_from_json(last).order))
        return "" if found is None else str(found.path)

    def restore(self) -> None:
        """Put the newest good checkpoint where the program looks; rank 0 tells about it. Raises `StoreUnavailable`."""
        self._restored(self._lead() if self._command.rank == 0 else self._follow())

    def _restored(self, search: Search) -> Found | None:
        found = search.found
        if found is not None:
            self._watch.know(found.path.name)
            with owner.acting(self._folder.run):
                write_whole(self._folder.run / "restored", str(found.path))
        if self._command.rank != 0:
            return found
        for url in search.damaged:
            self._folder.notice(f"checkpoint {url} is damaged; taking the one before")
        if found is not None:
            place = "" if found.place == _STORE else f", from {found.place}"
            text = f"restored checkpoint step {found.manifest.step} of epoch {found.manifest.epoch}{place}"
            self._folder.notice(text)
        self._around.emit(
            Restored(
                self._command.attempt_id,
                None if found is None else found.manifest.step,
                None if found is None else found.manifest.epoch,
                None if found is None else found.manifest_url,
                search.damaged,
            )
        )
        return found

    def start(self) -> None:
        """Begin to keep what the program leaves."""
        self._committer.start()

    def finish(self, timeout_s: float, *, ended_well: bool) -> None:
        """Keep and store what is complete; what the store does not take in time stays on this node, and is said."""
        if not self._committer.finish(timeout_s, ended_well=ended_well):
            self._folder.notice("the last checkpoint could not be stored in time; this node tries it for a day")
            if self._command.rank == 0:
                arrears.owe(self._kept, self._command, time.time())
        elif ended_well and self._command.rank == 0:
            shutil.rmtree(self._kept, ignore_errors=True)

    def abandon(self) -> None:
        """Write nothing any more: there is no lease."""
        self._committer.abandon()

    def close(self) -> None:
        """Serve nobody any more."""
        if self._server is not None:
            self._server.close()

    def _open_store(self) -> Store:
        return Store(self._command.store, self._around.env)

    def _lead(self, before: Order | None = None) -> Search:
        """Rank 0: choose. What it reads is marked, so that nobody deletes it meanwhile."""
        store, epoch = self._open_store(), self._command.epoch
        marked = epoch > 1 and _tried(lambda: retention.mark(store, epoch, None, time.time()))
        own = Place("this node's disk", self._local)
        places = [own, *self._peer_places(), *self._stores()]
        search = restore.newest(places, epoch, self._folder.checkpoints, before)
        if marked:
            _tried(lambda: retention.unmark(store, epoch))
        found = search.found
        if found is not None:
            self._committer.proven = frozenset({found.manifest.order})
            self._committer.owed = found.manifest if found.place == own.name else None
            if found.place == _FORMER:
                _tried(lambda: self._take_along(found, store))
        text = choice.NOTHING if found is None else found.manifest.to_json()
        write_whole(self._folder.root / "chosen.json", text)
        if self._server is not None:
            self._server.choose(text)
        if epoch > 1 and (len(self._command.peers) > 1 or self._command.bends):
            _tried(lambda: choice.publish(store, epoch, text))
        return search

    def _stores(self) -> list[Place]:
        """The store, and those of before the job moved; what lies on this disk of a checkpoint is not fetched."""
        former = [Place(_FORMER, self._near(url), needed=True) for url in self._command.former_stores]
        return [Place(_STORE, self._near(self._command.store), needed=True), *former]

    def _near(self, url: str) -> Reusing:
        return Reusing(Store(url, self._around.env), self._local)

    def _take_along(self, found: Found, store: Store) -> None:
        """The last delta of a move: what was saved after the copy ahead is in the new store before the start."""
        source = Store(found.manifest_url.rpartition("/manifests/")[0], self._around.env)
        here = {file: found.path.parent / file.path for file in found.manifest.files}
        try:
            copying.across(source, found.manifest, store, here, copying.Throttle(1e12))
        except CheckpointDamaged as exc:
            raise StoreUnavailable(f"the checkpoint stays in the store of before: {exc.message}") from exc

    def _follow(self) -> Search:
        """Another rank: look for what rank 0 will find, then do as it says."""
        places = [Place("this node's disk", self._local), *self._stores()]
        own = restore.newest(places, self._command.epoch, self._folder.checkpoints)
        if self._command.epoch <= 1:
            return own  # a first attempt: there is nothing to choose from
        wanted = choice.ask(self._command, self._open_store, self._around.going_on)
        if own.found is not None and (wanted is None or own.found.manifest.files != wanted.files):
            _remove(own.found.path)
        elif own.found is not None or wanted is None:
            return own
        if wanted is None:
            return Search(None, ())
        places.insert(1, Place("the head's disk", Peer(self._command, 0)))
        found = restore.exactly(places, wanted, self._folder.checkpoints)
        if found is None:
            raise StoreUnavailable(f"checkpoint step {wanted.step}, which rank 0 starts from, is nowhere to be had")
        return Search(found, ())

    def _peer_places(self) -> list[Place]:
        """The peers that answer, as places to restore from; all are asked at once."""
        ranks = [peer.rank for peer in self._command.peers if peer.rank != self._command.rank][:PEERS_ASKED]
        if self._command.epoch <= 1 or not ranks:
            return []
        asked = [Peer(self._command, rank) for rank in ranks]
        answered: list[Peer] = []
        threads = [threading.Thread(target=self._await, args=(peer, answered), daemon=True) for peer in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PEERS_WAIT_S + 1)
        return [Place(f"node {peer.node_id}", peer) for peer in asked if peer in answered]

    def _await(self, peer: Peer, answered: list[Peer]) -> None:
        deadline = time.monotonic() + PEERS_WAIT_S
        while time.monotonic() < deadline and self._around.going_on():
            if _tried(lambda: peer.names("manifests")):
                answered.append(peer)
                return
            time.sleep(ASK_AGAIN_S)

    def _offer(self, manifest: Manifest) -> tuple[str, ...]:
        """Have the next rank fetch a copy; returns the ids of the nodes that have one now."""
        own = next(peer.node_id for peer in self._command.peers if peer.rank == self._command.rank)
        if self._next is None or self._server is None:
            return (own,)
        return (own, self._next.node_id) if self._next.offer(manifest, self._command.rank) else (own,)

    def _fetch(self, name: str, rank: int) -> None:
        peer = Peer(self._command, rank)
        try:
            order = peers.fetch_copy(peer, name, self._local)
        finally:
            peer.close()
        retention.retain(self._local, self._command.epoch, Keep(PEER_COPIES, frozenset({order})), time.time())


_STORE, _FORMER = "the store", "the store of before it moved"


def clear(node_dir: Path, now: float, but: str = "") -> None:
    """Remove the copies of jobs that were not here for a day."""
    for path in (node_dir / "kept").glob("*"):
        times = [entry.stat().st_mtime for entry in (path / "manifests", path) if entry.exists()]
        if path.name != but and now - max(times, default=0.0) > KEPT_S:
            shutil.rmtree(path, ignore_errors=True)


def _next_peer(command: StartAttempt) -> Peer | None:
    ranks = sorted(peer.rank for peer in command.peers)
    after = ranks[(ranks.index(command.rank) + 1) % len(ranks)]
    return None if after == command.rank else Peer(command, after)


def _tried(act: Callable[[], object]) -> bool:
    try:
        act()
    except StoreUnavailable as exc:
        log.info("not possible now", reason=exc.message)
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
