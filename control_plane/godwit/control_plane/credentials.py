"""What an agent presents once its node joined: who it is, until when, and that we said so.

    <node id>.<agent id, base 64>.<expiry, s since the epoch, hex>.<key id>.<HMAC-SHA256 of all that, hex>

Before the expiry of one that is good only along with a certificate of its agent stands a `t`.

It is derived, not stored: what it opens is decided by the rows of its node. Only the control plane's clock counts, so
that a node's clock may be as wrong as it likes. An agent that joined before credentials expired has one of the form
`<node id>.<hex>`, of which the database has the hash; it is good until the agent shows a renewed one.
"""

import base64
import binascii
import hmac
import re
from dataclasses import dataclass

from godwit.control_plane.keyring import Keyring
from godwit.domain.errors import Unauthenticated

LIFE_S = 86_400.0
"""How long a credential lives, where no setting says otherwise."""

RENEWED_AT = 0.5
"""The share of its life after which a heartbeat's answer brings a new one: an agent that is cut off for the other half
of a day still comes back with it."""

CHARACTERS_MAX = 512

_FORM = re.compile(r"([^.]{1,64})\.([A-Za-z0-9_-]{1,360})\.(t?[0-9a-f]{1,12})\.([0-9a-f]{8})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Claim:
    """What a credential says that is ours; `expires_at` is in seconds since the epoch.

    `certified`: whoever shows it must show a certificate of the same node and agent, too.
    """

    node_id: str
    agent_id: str
    expires_at: float
    certified: bool = False


def issue(keyring: Keyring, node_id: str, agent_id: str, now: float, life_s: float, *, certified: bool = False) -> str:
    """A credential that lives for `life_s` seconds from `now` on."""
    agent = base64.urlsafe_b64encode(agent_id.encode()).decode().rstrip("=")
    said = f"{node_id}.{agent}.{'t' if certified else ''}{int(now + life_s):x}.{keyring.key_id}"
    return f"{said}.{keyring.signature(said)}"


def is_derived(credential: str) -> bool:
    """Whether this has the form of what `issue` makes; what has not is looked up by its hash."""
    return len(credential) <= CHARACTERS_MAX and _FORM.fullmatch(credential) is not None


def read(keyring: Keyring, credential: str, now: float) -> Claim:
    """What a credential says. Raises `Unauthenticated` for one that is over or not ours: then its agent joins again."""
    form = _FORM.fullmatch(credential) if len(credential) <= CHARACTERS_MAX else None
    if form is None:
        raise Unauthenticated("this is no node credential; join with the token of the machine")
    if form[4] != keyring.key_id:
        raise Unauthenticated("this node credential was given by another key; join again")
    if not hmac.compare_digest(form[5], keyring.signature(credential.rpartition(".")[0])):
        raise Unauthenticated("this node credential is not valid; join again")
    expires_at = float(int(form[3].removeprefix("t"), 16))
    if now >= expires_at:
        raise Unauthenticated("this node credential is over, it was not renewed in time; join again")
    return Claim(form[1], _decoded(form[2]), expires_at, certified=form[3].startswith("t"))


def is_due(claim: Claim, now: float, life_s: float) -> bool:
    """Whether it is time for a new one."""
    return claim.expires_at - now <= life_s * (1.0 - RENEWED_AT)


def _decoded(agent: str) -> str:
    try:
        return base64.urlsafe_b64decode(agent + "=" * (-len(agent) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise Unauthenticated("this node credential is not valid; join again") from exc
