"""Leave checkpoints where godwit finds them, and find the one to go on from.

    state = checkpoint.load()           # None: start from nothing
    for step in range(start, steps):
        ...
        if checkpoint.due(step):        # every so often, as godwit has chosen; and once more when asked to stop
            checkpoint.save(step, {"model": model, "optimizer": optimizer, "step": step})
        if checkpoint.should_stop():
            break

`save` copies the state to memory and goes on; the file is written meanwhile. A function instead of a state fills a
folder by itself: `checkpoint.save(step, lambda folder: model.save_pretrained(folder))`.
"""

import functools
import json
import os
import re
import shutil
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from godwit.sdk import notice, pacing, states
from godwit.sdk.notice import on_notice
from godwit.sdk.pacing import Agree

__all__ = [
    "adopt", "directory", "due", "latest", "load", "on_notice", "restored", "save", "should_stop", "take_in", "wait",
]  # fmt: skip

_NAME = re.compile(r"^checkpoint-(\d+)$")

KEPT = 2
"""How many of this program's checkpoints stay in its folder: godwit has copied the older ones by then."""

Write = Callable[[Path], Any]


@dataclass(frozen=True)
class Part:
    """A node's part of a checkpoint: on how many nodes its files lie, what all of them call this save.

    `first`: the program's first process is here, so that this node commits the whole.
    """

    parts: int = 1
    save_id: int = 0
    first: bool = True


class _Writing:
    """The write that goes on in the background, if one does, and the pace; one for each process."""

    def __init__(self) -> None:
        self.pace = pacing.Pace(time.monotonic, notice.should_stop)
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None


_writing: _Writing | None = None


def _state() -> _Writing:
    global _writing  # noqa: PLW0603 - one process, one program; made late, when the environment is complete
    if _writing is None:
        _writing = _Writing()
    return _writing


def directory() -> Path:
    """The folder for checkpoints: GODWIT_CHECKPOINT_DIR, or `./checkpoints` outside of godwit. It exists."""
    folder = Path(os.environ.get("GODWIT_CHECKPOINT_DIR") or "checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def latest() -> Path | None:
    """What to go on from: the newest checkpoint saved here, else the one that godwit restored, else None."""
    saved = _saved()
    if saved:
        return saved[-1]
    return restored()


def restored() -> Path | None:
    """The checkpoint that godwit placed on this node before the program started, or None."""
    named = os.environ.get("GODWIT_RESTORED_CHECKPOINT")
    if not named and (folder := os.environ.get("GODWIT_RUN_DIR")):
        # Processes that Ray started before the restore was done find the path here.
        note = Path(folder) / "restored"
        named = note.read_text() if note.exists() else None
    return Path(named) if named and Path(named).exists() else None


def load(path: Path | None = None, **options: Any) -> Any:
    """The state that `save(step, state)` saved: of `path`, or of the latest one; None when there is none.

    `options` go to `torch.load`, such as `weights_only=False` for states that hold more than tensors and numbers.
    """
    path = path or latest()
    return None if path is None else states.read(path, **options)


def due(step: int, agree: Agree | None = None, *, alone: bool = False) -> bool:
    """Whether to save now: the interval that godwit chose is over, or it asked the program to stop. Cheap.

    Where torch.distributed runs, all of its processes get the first one's answer, so all must ask, at the same steps;
    `alone=True` asks nobody. `agree` replaces torch's broadcast.
    """
    return _state().pace.due(step, None if alone else agree or pacing.torch_agreement())


def should_stop() -> bool:
    """Whether godwit asked the program to stop: save, and end by yourself. Cheap: ask at each step.

    Where `due` asks the first process, this is what was heard there: all leave the loop at the same step.
    """
    pace = _state().pace
    return notice.should_stop() if pace.told_to_stop is None else pace.told_to_stop


def save(step: int, state: Any | Write, *, background: bool = True) -> Path:
    """Save a checkpoint, from one process of the program; it counts only once it is complete and on disk.

    `state` is anything that `torch.save` or pickle takes; what has a `state_dict()` is asked for it. It is copied to
    the CPU's memory, then written in the background while the program goes on; `background=False` writes at once and
    needs no memory. A function is called with an empty folder to fill, at once. One write goes on at a time: a second
    save waits for the first. Returns the path, `checkpoint-<step>`. What a write raises comes out here, or of the next
    `save` or `wait`, and leaves no checkpoint behind.
    """
    began = time.monotonic()
    wait()
    writing = _state()
    target = directory() / f"checkpoint-{step}"
    filled_by_program = callable(state) and not hasattr(state, "state_dict")
    if filled_by_program or not background:
        write: Write = state if filled_by_program else functools.partial(states.write, states.plain(state))
        _write(step, write)
        writing.pace.saved()
        _tell(step, began, time.monotonic())
        return target
    write = functools.partial(states.write, states.copied(state))
    stalled_until = time.monotonic()
    writing.thread = threading.Thread(target=_write_behind, args=(step, write, began, stalled_until), daemon=False)
    writing.thread.start()
    writing.pace.saved()
    return target


def wait() -> None:
    """Wait until the save that goes on in the background is on disk; raises what it raised."""
    writing = _state()
    if writing.thread is not None:
        writing.thread.join()
        writing.thread = None
    error, writing.error = writing.error, None
    if error is not None:
        raise error


def take_in(step: int, folder: Path, began: float | None = None) -> Path:
    """Make a checkpoint of a complete file or folder that lies elsewhere, such as where a trainer keeps its own.

    Files are linked where the file system allows it, else copied. `began`: when its writing began (`time.monotonic`).
    """
    began = time.monotonic() if began is None else began
    target = _write(step, functools.partial(_link_all, folder))
    _state().pace.saved()
    _tell(step, began, time.monotonic())
    return target


def adopt(step: int, draft: Path, began: float, part: Part | None = None) -> Path:
    """Make a checkpoint of a complete folder in `directory()`, by giving it its name; for glue to frameworks.

    `began`: when its writing began (`time.monotonic`). `part`: its files lie on several nodes; each adopts its own.
    """
    target = _name(step, draft)
    _state().pace.saved()
    _tell(step, began, time.monotonic(), part or Part())
    return target


def _write_behind(step: int, write: Write, began: float, stalled_until: float) -> None:
    try:
        _write(step, write)
        _tell(step, began, stalled_until)
    except BaseException as exc:  # noqa: BLE001 - it comes out of the next save, in the program's own thread
        traceback.print_exc()  # the program may end without another save
        _state().error = exc


def _write(step: int, write: Write) -> Path:
    folder = directory()
    draft = folder / f".checkpoint-{step}.{os.getpid()}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        write(draft)
        return _name(step, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _name(step: int, draft: Path) -> Path:
    _sync(draft)
    target = directory() / f"checkpoint-{step}"
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)
    _sync_one(target.parent)
    for old in _saved()[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _tell(step: int, began: float, stalled_until: float, part: Part = Part()) -> None:
    """Leave a note for the agent: this entry is complete, and what it cost; never raises, as progress never does."""
    run = os.environ.get("GODWIT_RUN_DIR")
    if not run:
        return
    note = {
        "step": step, "entry": f"checkpoint-{step}", "stall_s": stalled_until - began,
        "write_s": time.monotonic() - began, **asdict(part),
    }  # fmt: skip
    try:
        folder = Path(run) / "saves"
        folder.mkdir(exist_ok=True)
        draft = folder / f"{time.time_ns()}.tmp"
        draft.write_text(json.dumps(note))
        draft.replace(draft.with_suffix(".json"))
    except OSError:
        return


def _saved() -> list[Path]:
    found = [(int(match[1]), path) for path in directory().iterdir() if (match := _NAME.match(path.name))]
    return [path for _, path in sorted(found)]


def _link_all(source: Path, folder: Path) -> None:
    for path in [source] if source.is_file() else sorted(source.rglob("*")):
        if path.is_file():
            place = folder / (path.name if path == source else path.relative_to(source))
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:  # another file system, or one without links
                shutil.copy2(path, place)


def _sync(folder: Path) -> None:
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync_one(Path(root) / name)
        _sync_one(Path(root))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
