"""Credential and certificate are renewed along with heartbeats, and kept before they are used."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog
from godwit.agents import joining
from godwit.agents.dev.relaying import Terminals
from godwit.agents.joining import Joined
from godwit.agents.link import Dismissed, Link, Unreachable

log = structlog.get_logger()

AGAIN_S = 60.0
"""The pause after a certificate that did not come: half of the life of the one before is left then."""


class Renewal:
    """What this node presents. `now` only goes forward, in seconds."""

    def __init__(
        self,
        node_dir: Path,
        joined: Joined,
        link: Link,
        terminals: Terminals,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node_dir, self._joined, self._link, self._terminals, self._now = node_dir, joined, link, terminals, now
        # An agent that was started again may have been ended between credential and certificate.
        self._due_at = now() if joined.key else None

    def answered(self, credential: str | None) -> None:
        """A heartbeat was answered, perhaps with a new credential; the one before is good for as long as it was."""
        if credential is not None:
            self._joined = self._joined.model_copy(update={"credential": credential})
            joining.keep(self._node_dir, self._joined)
            self._link.renew(credential)
            self._terminals.renew(credential)
            if self._joined.key:
                self._due_at = self._now()
        if self._due_at is not None and self._now() >= self._due_at:
            self._certificate()

    def _certificate(self) -> None:
        from godwit.agents import certificates  # noqa: PLC0415 - most nodes need none

        key, csr = certificates.new_key()
        try:
            reply = self._link.certificate(csr)
        except (Unreachable, Dismissed) as exc:  # whether we are sent away is said to a heartbeat
            log.warning("no new certificate came", reason=exc.message, next_try_s=AGAIN_S)
            self._due_at = self._now() + AGAIN_S
            return
        changed = {"key": key, "certificate": reply.certificate, "authorities": reply.authorities}
        self._joined = self._joined.model_copy(update=changed)
        joining.keep(self._node_dir, self._joined)
        shown = joining.tls_of(self._joined, self._node_dir)
        self._link.show(shown)
        self._terminals.show(shown)
        self._due_at = None
