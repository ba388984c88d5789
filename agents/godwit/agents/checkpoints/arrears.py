"""Sends what an attempt left on this disk because the store did not take it in time, once the store does.

    <node>/kept/<job>/owed.json     which attempt, which store, and what opens it: nobody but this user may read it

The attempt is over by then, and the job goes on elsewhere or waits. What was saved late is the newest of its own epoch
and no newer than anything of a later one, so it can only be restored from where nothing newer is there. It is tried
for as long as copies stay (a day), and given up once a later attempt has saved, or one of the same job starts here.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from godwit.agents.checkpoints import commit
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.agents.effects import Committed
from godwit.agents.runtime.guard import write_whole
from godwit.domain.errors import CheckpointDamaged
from godwit.domain.wire.agents import StartAttempt

log = structlog.get_logger()

NAME = "owed.json"
EVERY_S, PAUSE_MAX_S = 10.0, 300.0
"""How often it is looked for something owed, and the longest pause while a store does not answer."""

GIVEN_UP_S = 24 * 3600.0
"""As long as copies stay on a node (`keeping.KEPT_S`)."""


@dataclass(frozen=True)
class Owed:
    """What is owed to a store. `at` is in seconds since the epoch."""

    attempt_id: str
    epoch: int
    store: str
    env: Mapping[str, str]
    at: float

    def opened(self) -> Store:
        """The store, opened as the attempt opened it."""
        return Store(self.store, {**os.environ, **self.env})


def owe(kept: Path, command: StartAttempt, now: float) -> None:
    """Note that the newest copy below `kept` is not in the store yet."""
    note = Owed(command.attempt_id, command.epoch, command.store, dict(command.env), now)
    path = kept / NAME
    kept.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{NAME}.tmp").touch(mode=0o600)  # what opens a store is secret
    write_whole(path, json.dumps(asdict(note)))


def take_over(kept: Path) -> None:
    """An attempt of the job starts here: what lies here is its business now."""
    (kept / NAME).unlink(missing_ok=True)


class Arrears:
    """Looks after what the attempts of one node owe; `tell` hears what was stored."""

    def __init__(
        self, node_dir: Path, tell: Callable[[Committed], None], opened: Callable[[Owed], Store] = Owed.opened
    ) -> None:
        self._node_dir, self._tell, self._opened = node_dir, tell, opened

    def start(self) -> None:
        """Begin, on a thread that ends with the agent."""
        threading.Thread(target=self._run, name="arrears", daemon=True).start()

    def look(self, now: float) -> bool:
        """Settle what can be settled at `now` (seconds since the epoch); returns whether a store did not answer."""
        failed = False
        for path in sorted((self._node_dir / "kept").glob(f"*/{NAME}")):
            owed = _read(path)
            try:
                if owed is not None and now - owed.at < GIVEN_UP_S:
                    self._settle(path.parent, owed)
            except StoreUnavailable as exc:
                log.info("what an attempt left cannot be stored yet", reason=exc.message)
                failed = True
            else:
                path.unlink(missing_ok=True)
        return failed

    def _run(self) -> None:
        pause_s = EVERY_S
        while True:
            pause_s = min(2 * pause_s, PAUSE_MAX_S) if self.look(time.time()) else EVERY_S
            time.sleep(pause_s)

    def _settle(self, kept: Path, owed: Owed) -> None:
        local, store = Store(f"file://{kept}", {}), self._opened(owed)
        if any(epoch > owed.epoch for epoch, _ in commit.orders(store)):
            log.info("a later attempt has saved: what an earlier one left is not needed", attempt_id=owed.attempt_id)
            return
        for order in (one for one in commit.orders(local) if one[0] == owed.epoch):
            if store.exists(commit.manifest_url(store, *order)):
                return
            try:
                sent = commit.forward(local, commit.read(local, order), store, ())
            except CheckpointDamaged as exc:
                log.warning("a copy that is owed is damaged; taking the one before", reason=exc.message)
                continue
            url = commit.manifest_url(store, *order)
            log.info("a checkpoint was stored after the end of its attempt", url=url)
            self._tell(
                Committed(owed.attempt_id, sent.step, sent.created_at, sent.size_bytes, len(sent.files), url)
            )  # fmt: skip
            return


def _read(path: Path) -> Owed | None:
    try:
        return Owed(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as exc:
        log.warning("a note of what is owed makes no sense", path=str(path), reason=f"{type(exc).__name__}: {exc}")
        return None
