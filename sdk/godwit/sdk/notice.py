"""Hear that godwit asks the program to stop, and why there is time left: to save.

    if notice.should_stop():            # in the training loop
        checkpoint.save(step, state)
        break

The node's agent leaves a note in the run folder, where every process of the attempt on that node sees it, and sends
SIGTERM to those that catch it. Who asks here means to end by itself, so SIGTERM no longer ends the process at once.
"""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

LOOK_S = 0.25
"""How often the note is looked for where nobody asks; a hundredth of the grace."""


class _Notice:
    """What this process knows of a notice; one for each process."""

    def __init__(self) -> None:
        self.heard = False
        self._previous: Any = None
        self._installed = False
        self._listeners: list[Callable[[], Any]] = []
        self._watcher: threading.Thread | None = None

    def listen(self) -> None:
        """Catch SIGTERM, where Python allows it: in the main thread."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._previous = signal.signal(signal.SIGTERM, self._on_signal)
        self._installed = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        # A handler of the program's own goes on to be called; Ray's would end the driver, and with it all workers.
        if callable(self._previous) and not str(getattr(self._previous, "__module__", "")).startswith("ray"):
            self._previous(number, frame)

    def look(self) -> bool:
        if not self.heard:
            folder = os.environ.get("GODWIT_RUN_DIR")
            self.heard = bool(folder) and (Path(str(folder)) / "notice").exists()
        return self.heard

    def add(self, listener: Callable[[], Any]) -> None:
        self._listeners.append(listener)
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="godwit-notice", daemon=True)
            self._watcher.start()

    def _watch(self) -> None:
        while not self.look():
            time.sleep(LOOK_S)
        for listener in self._listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001 - the others must hear of it all the same
                traceback.print_exc()


_notice = _Notice()


def should_stop() -> bool:
    """Whether godwit asked the program to stop: save, and end by yourself. Cheap: call it at each step.

    Always false outside of godwit, where SIGTERM stays what it was.
    """
    if not os.environ.get("GODWIT_RUN_DIR"):
        return False
    _notice.listen()
    return _notice.look()


def on_notice(act: Callable[[], Any]) -> None:
    """Call `act()` once when godwit asks the program to stop, in a thread of its own; never outside of godwit."""
    if not os.environ.get("GODWIT_RUN_DIR"):
        return
    _notice.listen()
    _notice.add(act)
