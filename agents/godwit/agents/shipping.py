"""Carries the logs of all attempts of this node to the control plane, a thread for each."""

import threading
import time

from godwit.agents.link import Dismissed, Link, Unreachable
from godwit.agents.logs import Tail

LOOK_S = 0.05
"""A line is on its way this soon after it was written."""

LOOK_QUIET_S = 0.25
"""The same for a log that was silent for `QUIET_AFTER_S`."""

QUIET_AFTER_S = 10.0

PAUSE_MAX_S = 5.0
"""The longest pause while the control plane is away: below a heartbeat's timeout, so that output is not what waits."""


class LogShipper:
    """Sends one attempt's log as it grows. `finish` waits until it is all there, within bounds."""

    def __init__(self, tail: Tail, link: Link) -> None:
        self._tail = tail
        self._link = link
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def finish(self, timeout_s: float) -> bool:
        """No more output will come: send what is left, and return whether all was stored within `timeout_s`."""
        self._closing.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # No bound on tries: the attempt may run on, and the pause is bounded; the process ends with its agent.
        pause_s, last_output = LOOK_S, time.monotonic()
        while True:
            closing = self._closing.is_set()
            try:
                sent = self._send_one(final=closing)
            except Unreachable:
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                continue
            except Dismissed:
                return  # the heartbeat hears the same and acts on it
            pause_s = LOOK_S
            if sent:
                last_output = time.monotonic()
                continue
            if closing:
                return
            quiet = time.monotonic() - last_output > QUIET_AFTER_S
            self._closing.wait(LOOK_QUIET_S if quiet else LOOK_S)

    def _send_one(self, *, final: bool) -> bool:
        chunk = self._tail.chunk(final=final)
        if chunk is None:
            return False
        reply = self._link.log(chunk)
        self._tail.stored(reply.next_offset)
        return True
