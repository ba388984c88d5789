"""What a gang starts from: rank 0 chooses, and says it at its server and in the store; the others ask.

chosen/e<epoch:06d>.json     the manifest of what an attempt starts from, or {} for nothing
"""

import time
from collections.abc import Callable

from godwit.agents.checkpoints.peers import Peer
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.domain.checkpoints import Manifest, manifest_from_json
from godwit.domain.errors import CheckpointDamaged, GodwitError
from godwit.domain.wire.agents import StartAttempt

HEAD_WAIT_S = 600.0
"""How long a node waits for the choice: as long as a gang may take to come up. An older attempt may still be leaving
rank 0's node; to start from something else meanwhile would be worse than to wait."""

ASK_AGAIN_S, ASK_STORE_AGAIN_S = 0.1, 2.0

NOTHING = "{}"


class HeadSilent(GodwitError):
    """Rank 0 did not say what to start from; the attempt cannot start."""


def publish(store: Store, epoch: int, text: str) -> None:
    """Say it in the store, for nodes that cannot reach rank 0's server. Raises `StoreUnavailable`."""
    name = _name(epoch)
    store.write_text(f"chosen/{name}", text)
    for old in store.names("chosen"):
        if old < name:
            store.remove(f"chosen/{old}")


def ask(command: StartAttempt, open_store: Callable[[], Store], going_on: Callable[[], bool]) -> Manifest | None:
    """What rank 0 starts from, None for nothing; waits until it has chosen. Raises `HeadSilent`."""
    head, give_up_at, ask_store_at = Peer(command, 0), time.monotonic() + HEAD_WAIT_S, 0.0
    try:
        while going_on() and time.monotonic() < give_up_at:
            answer = _said(head)
            if answer is None and time.monotonic() >= ask_store_at:
                answer, ask_store_at = _published(open_store, command.epoch), time.monotonic() + ASK_STORE_AGAIN_S
            if answer is not None:
                return None if answer == NOTHING else manifest_from_json(answer)
            time.sleep(ASK_AGAIN_S)
    finally:
        head.close()
    raise HeadSilent(f"rank 0 did not say within {HEAD_WAIT_S:g} s what checkpoint to start from")


def _said(head: Peer) -> str | None:
    try:
        return head.start()
    except (StoreUnavailable, CheckpointDamaged):
        return None  # its agent has not heard of the attempt yet, or is gone


def _published(open_store: Callable[[], Store], epoch: int) -> str | None:
    try:
        return open_store().read_text(f"chosen/{_name(epoch)}").decode()
    except (StoreUnavailable, CheckpointDamaged):
        return None  # not yet, or not to be known


def _name(epoch: int) -> str:
    return f"e{epoch:06d}.json"
