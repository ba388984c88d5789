"""The agent's side of the conversation with the control plane; the agent dials, always."""

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import httpx
from godwit.domain.errors import GodwitError
from godwit.domain.wire.agents import (
    CommandsReply,
    CommandsRequest,
    HeartbeatReply,
    HeartbeatRequest,
    JoinReply,
    JoinRequest,
)
from godwit.domain.wire.certificates import Authorities, CertificateReply, CertificateRequest
from godwit.domain.wire.logs import LogChunk, LogReply
from godwit.domain.wire.pages import Message
from godwit.domain.wire.secrets import AttemptSecrets, AttemptSecretsRequest
from pydantic import ValidationError

Reply = TypeVar("Reply", bound=Message)

ARCHIVE_BYTES_MAX = 256 * 1024 * 1024
"""The largest workdir the control plane takes."""

KEPT_S = 65.0
"""How long an idle connection is kept: longer than the longest pause between heartbeats, 60 s, and not as long as the
control plane keeps it, 75 s."""

SECONDS_DIGITS_MAX = 7
"""Of a `Retry-After`; what is longer says nothing of when to come back, and neither does a date."""

_OF_TLS = {
    "mismatch": "the certificate of whoever answers is for another host; name this one in agents_tls: {names: ...}",
    "expired": "the certificate of whoever answers is over, by this machine's clock; set the clock, or look there",
    "not yet valid": "the certificate of whoever answers is of the future, by this machine's clock; set the clock",
    "CERTIFICATE_VERIFY_FAILED": "whoever answers has no certificate of an authority that this node knows, and so is "
    "not its control plane; should that have another one since, `godwit nodes terminate` lets it be launched anew",
    "disconnected": "the control plane ended the connection in place of an answer: it is starting again, or does not "
    "believe the authority of this node's certificate; if that goes on, `godwit nodes terminate` ends the node",
}
"""What parts of OpenSSL's reasons mean (ssl.SSLError), the first that fits, and what to do. asyncio refuses a
certificate of TLS 1.3 without an alert, and so after the handshake as its client sees it: that is the last of them."""

_DISMISSALS = frozenset({401, 403, 410})


class Dismissed(GodwitError):
    """The control plane does not know this node any more: stop everything and go."""


class Forgotten(Dismissed):
    """The same, because it does not know our credential: its database may be older than that, so ask to join again."""


class Unreachable(GodwitError):
    """The control plane did not answer as it should; nothing is known to have happened, try again later.

    `after_s` is for how long it asked to be left alone.
    """

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Link:
    """Calls to the control plane. Each blocks; each raises `Unreachable` or `Dismissed`, nothing else."""

    def __init__(self, url: str, credential: str = "", tls: ssl.SSLContext | None = None) -> None:
        self._url, self._credential, self._tls = url, credential, tls
        self._client, self._former = self._opened(), list[httpx.Client]()

    def _opened(self) -> httpx.Client:
        kept = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=KEPT_S)
        return httpx.Client(base_url=self._url, timeout=httpx.Timeout(5.0), limits=kept, verify=self._tls or True)

    def join(self, token: str, request: JoinRequest) -> JoinReply:
        """Introduce this node; the credential of the answer is used from now on."""
        reply = self._post("/v1/agent/join", request, JoinReply, token=token)
        self._credential = reply.credential
        return reply

    def renew(self, credential: str) -> None:
        """Present this credential from now on."""
        self._credential = credential

    def show(self, tls: ssl.SSLContext | None) -> None:
        """Make new connections, with this certificate; what is under way ends on those from before."""
        self._former.append(self._client)
        self._tls = tls
        self._client = self._opened()
        while len(self._former) > 1:  # half a life ago: nothing is under way there
            self._former.pop(0).close()

    def authorities(self, node_id: str, nonce: str) -> Authorities:
        """Where agents' own listener is and whom to believe there; nothing is shown, and nothing proved yet."""
        with self._translated():
            response = self._client.get("/v1/agent/authorities", params={"node": node_id, "nonce": nonce})
            if response.status_code == HTTPStatus.NOT_FOUND:
                raise Unreachable(
                    f"{self._url} knows no such machine, or has no listener for agents with TLS of its own: "
                    f"{response.text[:500]}"
                )
            _check(response)
            return Authorities.model_validate_json(response.content)

    def certificate(self, csr: str) -> CertificateReply:
        """The next certificate of this node, for a new key."""
        return self._post("/v1/agent/certificate", CertificateRequest(csr=csr), CertificateReply)

    def heartbeat(self, request: HeartbeatRequest, timeout_s: float = 5.0) -> HeartbeatReply:
        """Renew the lease and hand over observations."""
        return self._post("/v1/agent/heartbeat", request, HeartbeatReply, timeout_s=timeout_s)

    def commands(self, request: CommandsRequest) -> CommandsReply:
        """Wait up to `request.wait_s` for commands."""
        return self._post("/v1/agent/commands", request, CommandsReply, timeout_s=request.wait_s + 10)

    def secrets(self, attempt_id: str) -> AttemptSecrets:
        """The secrets of an attempt of this node, for its memory only."""
        return self._post("/v1/agent/secrets", AttemptSecretsRequest(attempt_id=attempt_id), AttemptSecrets)

    def log(self, chunk: LogChunk) -> LogReply:
        """Hand over output."""
        return self._post("/v1/agent/logs", chunk, LogReply)

    def download(self, digest: str, target: Path) -> None:
        """Fetch a workdir's archive into `target`; it holds what `digest` says, or `Unreachable` is raised."""
        seen, size = hashlib.sha256(), 0
        with (
            self._translated(),
            self._client.stream("GET", f"/v1/agent/archives/{digest}", headers=self._headers(), timeout=60) as response,
            target.open("wb") as file,
        ):
            _check(response)
            for block in response.iter_raw(1 << 20):
                size += len(block)
                if size > ARCHIVE_BYTES_MAX:
                    raise Unreachable(f"the archive {digest} is larger than {ARCHIVE_BYTES_MAX} bytes")
                seen.update(block)
                file.write(block)
        if seen.hexdigest() != digest:
            raise Unreachable(f"the archive {digest} arrived with {size} bytes of another digest")

    def _post(self, path: str, body: Message, kind: type[Reply], *, token: str = "", timeout_s: float = 5.0) -> Reply:
        headers = {**self._headers(token), "Content-Type": "application/json"}
        with self._translated():
            response = self._client.post(path, content=body.model_dump_json(), headers=headers, timeout=timeout_s)
            _check(response)
            return kind.model_validate_json(response.content)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as exc:
            why = "the control plane did not answer"
            if self._tls is not None:
                why = next((words for sign, words in _OF_TLS.items() if sign in str(exc)), why)
            raise Unreachable(f"{why} ({type(exc).__name__}: {exc})") from exc
        except ValidationError as exc:
            raise Unreachable(f"the control plane's answer cannot be read: {exc}") from exc

    def _headers(self, token: str = "") -> dict[str, str]:
        return {"Authorization": f"Bearer {token or self._credential}"}


def _check(response: httpx.Response) -> None:
    """Sort an answer by what to do next.

    Only problem details count as a dismissal: a stranger on the control plane's old port must not end running work.
    """
    if response.is_success:
        return
    response.read()
    problem = response.headers.get("content-type", "").startswith("application/problem+json")
    if response.status_code in _DISMISSALS and problem:
        kind = Forgotten if response.status_code == HTTPStatus.UNAUTHORIZED else Dismissed
        raise kind(f"the control plane sends this node away: {response.text[:500]}")
    after = response.headers.get("retry-after", "")
    after_s = float(after) if after.isdecimal() and len(after) < SECONDS_DIGITS_MAX else 0.0
    raise Unreachable(f"the control plane answered {response.status_code}: {response.text[:500]}", after_s)
