"""What a browser keeps while it is away at the provider: a signed cookie, without which no answer is taken.

The state ties the answer to this browser. The nonce and the verifier of PKCE are derived from it with the home's key,
so that they lie nowhere, and any control plane of this home can take the answer.
"""

import base64
import hmac
import json
import re
from dataclasses import dataclass

from godwit.control_plane.keyring import Keyring, new_token
from godwit.control_plane.login.claims import Reason, Refused

COOKIE = "godwit_login"
LASTS_S = 600.0
"""How long somebody may take at the provider."""

HOME = "/ui/"
_PAGE = re.compile(r"/ui/([A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*/?)*(\?[A-Za-z0-9=&._~-]{0,200})?")
PAGE_MAX = 300


@dataclass(frozen=True)
class Away:
    """Somebody who is away at the provider: until when, and the page that they wanted."""

    state: str
    page: str
    until: float


def begin(page: str, now: float) -> Away:
    """Somebody leaves for the provider, and wants to come back to a page of the dashboard."""
    return Away(new_token(), page if is_page(page) else HOME, now + LASTS_S)


def is_page(path: str) -> bool:
    """Whether a path is a page of the dashboard, and nothing else: nobody is sent anywhere else."""
    return len(path) <= PAGE_MAX and _PAGE.fullmatch(path) is not None


def nonce(keyring: Keyring, state: str) -> str:
    """What the provider repeats in its ID token."""
    return keyring.login("nonce", state)


def verifier(keyring: Keyring, state: str) -> str:
    """PKCE's secret (RFC 7636, section 4.1: 43 to 128 characters; these are 64 hex digits)."""
    return keyring.login("verifier", state)


def signed(keyring: Keyring, away: Away) -> str:
    """The cookie."""
    said = base64.urlsafe_b64encode(json.dumps([away.state, away.page, away.until]).encode()).decode()
    return f"{said}.{keyring.login('cookie', said)}"


def read(keyring: Keyring, cookie: str, state: str, now: float) -> Away:
    """Who comes back with this cookie and this state. Raises `Refused` when they are not of one login, or it is old."""
    said, _, mark = cookie.partition(".")
    if not hmac.compare_digest(mark.encode(), keyring.login("cookie", said).encode()):
        raise Refused(Reason.TOO_LATE, "the browser has no cookie of ours: it did not begin this login, or long ago")
    away = Away(*json.loads(base64.urlsafe_b64decode(said)))
    if not hmac.compare_digest(away.state.encode(), state.encode()):
        raise Refused(Reason.TOO_LATE, "the state is not that of this browser: it began another login since, or none")
    if away.until <= now:
        raise Refused(Reason.TOO_LATE, f"the login was begun more than {LASTS_S / 60:g} minutes ago")
    return away
