"""The listener for agents: TLS of the control plane's own making, beside the plain one, in the same server.

Its certificate and the authorities that it believes change while it listens; connections that are open go on.
"""

import asyncio
import secrets as randomness
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvicorn
from cryptography.hazmat.primitives import serialization
from godwit.control_plane import accepting, certificates, keyring
from godwit.control_plane.agents_tls import AgentsTls
from godwit.control_plane.certificates import Pair
from godwit.control_plane.connection import HEAD_S
from godwit.control_plane.context import Context
from godwit.control_plane.services import authorities
from godwit.control_plane.store import authorities as stored

log = structlog.get_logger()

LOOK_S = 30.0
"""How often it is looked whether there is a new authority, or the server's certificate is due."""

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h (1.1.0 and later): an agent's certificate that is over is refused
by `api/certified`, with a word that its agent can act on; the alert of TLS says less, and often gets lost."""


class AgentsListener:
    """What this process shows to agents, and whom it believes."""

    def __init__(self, context: Context, tls: AgentsTls, folder: Path, listener: socket.socket) -> None:
        self._context, self.tls, self._folder, self.socket = context, tls, folder, listener
        self._known: list[stored.Authority] = []
        self._keys: dict[int, str] = {}
        self._signer, self._due_at = 0, 0.0
        self.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
        self.ssl.verify_mode = ssl.CERT_OPTIONAL  # who joins has none yet
        self.ssl.verify_flags = ssl.VerifyFlags(self.ssl.verify_flags | NO_CHECK_TIME)
        # Agents keep their connections, and ask for no resumption: each handshake looks at the certificate.
        self.ssl.num_tickets = 0
        self.show(authorities.ensure(context))

    def trusted(self) -> set[str]:
        """The keys of the authorities that are believed now."""
        believed = authorities.trusted(self._known, self._context.now(), self._context.credential_s)
        return {self._keys[one.number] for one in believed}

    def show(self, known: Sequence[stored.Authority]) -> None:
        """Believe these authorities from now on, and show a certificate of the one that signs, if another is due."""
        for one in known:
            if one.number not in self._keys:
                self.ssl.load_verify_locations(cadata=one.certificate)
                self._keys[one.number] = certificates.key_of(one.certificate)
        self._known = list(known)
        now = self._context.now()
        signer = authorities.signing(known, now, self._context.credential_s).number
        if signer == self._signer and now < self._due_at:
            return
        pair = authorities.server(self._context, known, self.tls.hosts())
        load(self.ssl, pair, self._folder)
        ends_at = certificates.ends_at(pair.certificate)
        self._signer, self._due_at = signer, now + (ends_at - now) / 2
        log.info("shows agents a new certificate", authority=signer, good_for_h=round((ends_at - now) / 3600))

    async def keep_up(self) -> None:
        """Look for what is due until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.show(await asyncio.to_thread(self._read))
            except Exception as exc:  # noqa: BLE001 - the outermost frame of this task; half a life is left for others
                log.warning("the certificate for agents was not looked at", why=f"{type(exc).__name__}: {exc}")

    def _read(self) -> list[stored.Authority]:
        with self._context.db.read() as conn:
            return stored.known(conn)


class Server(uvicorn.Server):
    """uvicorn's, on one more socket, whose connections begin with TLS."""

    def __init__(self, config: uvicorn.Config, agents: AgentsListener | None) -> None:
        super().__init__(config)
        self.agents = agents

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.agents is None:
            return
        protocol, loop = self.config.http_protocol_class, asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            return protocol(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        for one in accepting.several(self.agents.socket):
            self.servers.append(
                await loop.create_server(
                    connection, sock=one, ssl=self.agents.ssl, ssl_handshake_timeout=HEAD_S, backlog=self.config.backlog
                )
            )


def load(into: ssl.SSLContext, pair: Pair, folder: Path) -> None:
    """Show this certificate from now on. `ssl` reads files only: there the key is for a moment, under a password."""
    password = randomness.token_bytes(32).hex().encode()
    key = serialization.load_pem_private_key(pair.key.encode(), None)
    how = serialization.BestAvailableEncryption(password)
    locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    path = folder / f".agents-tls.{randomness.token_hex(8)}"
    keyring.write_private(path, pair.certificate.encode() + locked)
    try:
        into.load_cert_chain(path, password=password)
    finally:
        path.unlink()
