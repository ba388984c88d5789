"""How an agent gets a certificate: whom to believe, told before anything is shown; then a request to sign.

    GET  /v1/agent/authorities?node=...&nonce=...   (no credential)                    -> Authorities
    POST /v1/agent/certificate   Authorization: Bearer <credential>   CertificateRequest -> CertificateReply

Whoever listens there is not known yet when authorities are asked for, so that they come with proofs: HMACs with the
join token of the machine, which nobody but it and its control plane has, and which is not shown for that.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from godwit.domain.wire.pages import Message
from pydantic import Field

Pem = Annotated[str, Field(max_length=4_096)]
"""A certificate, or a request for one: those of a key on P-256 have less than 1,000 characters."""

Nonce = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class Authorities(Message):
    """Where agents reach the control plane by TLS, and whose certificates it shows there.

    `proofs`: one for each join token that the machine of this node may have.
    """

    url: Annotated[str, Field(max_length=255)]
    certificates: Annotated[list[Pem], Field(max_length=16)]
    proofs: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=64)]


class CertificateRequest(Message):
    """A PKCS #10 request in PEM, with a key on P-256; what it says of its subject is not read."""

    csr: Pem


class CertificateReply(Message):
    """A certificate for this node's agent, and whose certificates it is to believe from now on."""

    certificate: Pem
    authorities: Annotated[list[Pem], Field(max_length=16)]


class AuthorityView(Message):
    """An authority as its operators see it; times are in seconds since the epoch, `key` tells its key from others.

    `coming`: believed, and signs from `signs_from` on. `trusted`: it signed what may be good still. `over`: no more.
    """

    number: int
    state: Literal["signs", "coming", "trusted", "over"]
    key: str
    created_at: float
    signs_from: float


def proof(join_token: str, nonce: str, url: str, certificates: Sequence[str]) -> str:
    """That who knows this join token says so: 64 hex digits. RFC 2104, over one JSON text."""
    said = json.dumps(["godwit authorities", nonce, url, list(certificates)])
    return hmac.new(join_token.encode(), said.encode(), hashlib.sha256).hexdigest()
