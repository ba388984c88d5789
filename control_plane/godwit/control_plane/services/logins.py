"""People come in by an identity provider: sent there with a state, and back with a code, to one fixed address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from godwit.control_plane.context import Context
from godwit.control_plane.login import claims as said
from godwit.control_plane.login import states
from godwit.control_plane.login.claims import Reason, Refused
from godwit.control_plane.login.section import LoginSettings
from godwit.control_plane.services import sessions, users
from godwit.domain.access import Caller

CALLBACK = "/v1/login/callback"


class Vouches(Protocol):
    """An identity provider, as `login.provider.Provider` asks one. Both raise `Refused`."""

    settings: LoginSettings

    def address(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where somebody's browser is sent."""

    def claims(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        """What it says of whoever came back with a code."""


@dataclass(frozen=True)
class Answer:
    """What a browser brings back from the provider (RFC 6749, section 4.1.2; `iss`: RFC 9207)."""

    state: str
    code: str = ""
    error: str = ""
    issuer: str = ""


@dataclass(frozen=True)
class Arrived:
    """Somebody is in: who, the secret of the session, and the page that they wanted."""

    caller: Caller
    secret: str
    page: str


def begin(context: Context, provider: Vouches, page: str) -> tuple[str, str]:
    """Where to send a browser, and the cookie that it takes along. Raises `Refused`."""
    keyring, away = context.keyring, states.begin(page, context.now())
    address = provider.address(
        context.url + CALLBACK, away.state, states.nonce(keyring, away.state), states.verifier(keyring, away.state)
    )
    return address, states.signed(keyring, away)


def finish(context: Context, provider: Vouches, cookie: str, answer: Answer, known: sessions.Known) -> Arrived:
    """Let somebody in who came back. Blocks while the provider is asked. Raises `Refused`."""
    keyring = context.keyring
    away = states.read(keyring, cookie, answer.state, context.now())
    if answer.issuer and answer.issuer != provider.settings.issuer:
        raise Refused(Reason.NOT_BELIEVED, "another provider answers than the one that was asked")
    if answer.error or not answer.code:
        raise Refused(Reason.REFUSED_THERE, f"the provider says {answer.error[:60]!r}")
    claims = provider.claims(
        answer.code, context.url + CALLBACK, states.nonce(keyring, away.state), states.verifier(keyring, away.state)
    )
    try:
        person = said.person(claims, provider.settings)
    except Refused:
        # Whoever was let in before and is not any more has nothing left here.
        users.depart(context, provider.settings.issuer, str(claims.get("sub", "")))
        raise
    now = context.now()
    with context.db.write() as tx:
        caller = users.arrive(context, tx, person, now)
        session, secret = sessions.opened(context, tx, caller, now, provider.settings.session_s)
        known(session)
    return Arrived(session, secret, away.page)
