"""Hints between the control planes on one PostgreSQL: LISTEN and NOTIFY. A lost one costs seconds, as any lost hint."""

import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from godwit.control_plane.store.in_line import CONNECT_S, KEEPALIVE
from sqlalchemy import make_url

log = structlog.get_logger()

CHANNEL = "godwit_hints"
PAYLOAD_BYTES_MAX = 7_500
"""PostgreSQL takes fewer than 8,000 bytes (its documentation, NOTIFY)."""

PAUSE_S, PAUSE_MAX_S = 0.5, 10.0
LOOK_S = 1.0
"""How often the listener looks whether it is to end."""


def payloads(sender: str, topics: list[str]) -> list[str]:
    """What to notify so that others hear of `topics`; each begins with who sends it, who passes it over."""
    found: list[str] = []
    line = sender
    for topic in topics:
        if len(line.encode()) + len(topic.encode()) + 1 > PAYLOAD_BYTES_MAX:
            found.append(line)
            line = sender
        line += f"\n{topic}"
    return [*found, line] if topics else []


class Listener:
    """A thread that announces here what others notify."""

    def __init__(self, url: str, sender: str, announce: Callable[[str], None]) -> None:
        parsed = make_url(url).set(drivername="postgresql")
        self._conninfo = parsed.render_as_string(hide_password=False)
        self._sender, self._announce = sender, announce
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopping.set()
        self._thread.join(2 * LOOK_S)

    def _run(self) -> None:
        import psycopg  # noqa: PLC0415 - an extra of its own, and only PostgreSQL comes here

        pause_s = PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._listen()
            except psycopg.Error as exc:
                log.warning("hints of other control planes are not heard", why=type(exc).__name__, next_try_s=pause_s)
            pause_s = PAUSE_S if time.monotonic() - began > PAUSE_MAX_S else min(pause_s * 2, PAUSE_MAX_S)
            self._stopping.wait(pause_s)

    def _listen(self) -> None:
        from godwit.control_plane.store.answering import Answering  # noqa: PLC0415 - as above

        told: dict[str, Any] = {"application_name": "godwit hints", "connect_timeout": CONNECT_S, **KEEPALIVE}
        with Answering.connect(self._conninfo, autocommit=True, **told) as conn:
            conn.silent_s = CONNECT_S
            conn.execute(f"LISTEN {CHANNEL}")
            conn.silent_s = None  # whoever notifies may be silent for days
            while not self._stopping.is_set():
                for heard in conn.notifies(timeout=LOOK_S):
                    self.hear(heard.payload)

    def hear(self, payload: str) -> None:
        """Announce the topics of a notification, unless it is our own."""
        sender, *topics = payload.split("\n")
        if sender != self._sender:
            for topic in topics:
                self._announce(topic)
