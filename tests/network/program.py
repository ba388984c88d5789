"""What the job runs on each of its nodes: it counts steps together with its peers, saves them, and keeps a diary.

    python -S program.py DIARIES STEPS STEP_S

The diary of a process is DIARIES/EPOCH-RANK-PID.jsonl, in instants of the machine's one monotonic clock. Each process
holds a lock that dies with it, and at its start looks whether a process of another epoch still holds its own: that
sees a double run even where it is shorter than the pause between two entries.
"""

import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

ENTRY_S = 0.1
"""How often a process writes down that it lives."""

SAVE_EVERY, KEPT = 5, 10
PEER_S = 2.0
"""How long a peer is waited for before the connection is made anew; there is no end to that."""

TOLD = threading.Event()
"""Set once the program is asked to end: it saves and does."""

EPOCH, RANK = int(os.environ["GODWIT_EPOCH"]), int(os.environ["GODWIT_NODE_RANK"])
NODES = int(os.environ["GODWIT_NUM_NODES"])
MEETING = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))


class Diary:
    """What this process did, and when."""

    def __init__(self, folder: Path) -> None:
        self._lock = (folder / f"epoch-{EPOCH}.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        path = folder / f"{EPOCH}-{RANK}-{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._folder = folder
        self.step = 0

    def note(self, what: str, **facts: int) -> None:
        """Write down that something happened now."""
        entry = {"what": what, "at": time.monotonic(), "wall": time.time(), "step": self.step, **facts}
        os.write(self._file, (json.dumps(entry) + "\n").encode())

    def look_for_others(self) -> None:
        """Write down every other epoch of which a process lives."""
        for path in self._folder.glob("epoch-*.lock"):
            epoch = int(path.stem.removeprefix("epoch-"))
            if epoch == EPOCH:
                continue
            with path.open("w") as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self.note("double", other=epoch)

    def keep(self) -> None:
        """Write down from now on that the process lives."""
        while True:
            self.note("alive")
            time.sleep(ENTRY_S)


def lead(diary: Diary, steps: int, step_s: float) -> None:
    """Rank 0: every step is done once each peer has done it; each fifth is saved."""
    checkpoints = Path(os.environ["GODWIT_CHECKPOINT_DIR"])
    listener = socket.create_server(MEETING) if NODES > 1 else None
    peers: dict[int, socket.socket] = {}
    while diary.step < steps and not TOLD.is_set():
        time.sleep(step_s)
        for rank in range(1, NODES):
            assert listener is not None
            while not _done_by(rank, diary.step + 1, peers, listener):
                diary.note("waits", peer=rank)
                if TOLD.is_set():
                    return
        diary.step += 1
        diary.note("step")
        if diary.step % SAVE_EVERY == 0 or diary.step == steps or TOLD.is_set():
            (checkpoints / ".new").write_text(f"{diary.step}\n")
            (checkpoints / ".new").rename(checkpoints / f"step-{diary.step}")
            (checkpoints / f"step-{diary.step - KEPT * SAVE_EVERY}").unlink(missing_ok=True)


def _done_by(rank: int, step: int, peers: dict[int, socket.socket], listener: socket.socket) -> bool:
    """Let a peer do a step; False when it did not answer, and is to be asked again."""
    listener.settimeout(PEER_S)
    try:
        while rank not in peers:
            connection, _ = listener.accept()
            connection.settimeout(PEER_S)
            peers[int(connection.recv(16))] = connection
        peers[rank].sendall(f"{step}\n".encode())
        while answer := peers[rank].recv(16):
            if str(step) in answer.decode().split():
                return True
    except (OSError, ValueError):
        pass
    lost = peers.pop(rank, None)
    if lost is not None:
        lost.close()
    return False


def follow(diary: Diary) -> None:
    """Another rank: does each step that rank 0 asks for, until somebody ends this process."""
    while True:
        with suppress(OSError, ValueError), socket.create_connection(MEETING, timeout=PEER_S) as head:
            head.settimeout(PEER_S * 2)
            head.sendall(f"{RANK}\n".encode())
            while asked := head.recv(64):
                diary.step = int(asked.split()[-1])
                diary.note("step")
                head.sendall(f"{diary.step}\n".encode())
        time.sleep(ENTRY_S)


def main() -> None:
    """Go on from what was saved."""
    diary = Diary(Path(sys.argv[1]))
    restored = os.environ.get("GODWIT_RESTORED_CHECKPOINT")
    diary.step = int(Path(restored).read_text()) if restored else 0
    diary.note("start")

    def hear(*_args: object) -> None:
        diary.note("told")
        TOLD.set()

    if RANK == 0:
        signal.signal(signal.SIGTERM, hear)
    diary.look_for_others()
    threading.Thread(target=diary.keep, daemon=True).start()
    if RANK == 0:
        lead(diary, int(sys.argv[2]), float(sys.argv[3]))
    else:
        follow(diary)
    diary.note("end")


if __name__ == "__main__":
    main()
