"""The identity provider: what it publishes of itself, where people are sent, and what their code is exchanged for."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from godwit.control_plane.login import id_tokens
from godwit.control_plane.login.claims import Reason, Refused
from godwit.control_plane.login.fetching import Fetch, Fetcher
from godwit.control_plane.login.section import LoginSettings, is_address
from joserfc.jwk import KeySet

KEPT_S = 3600.0
"""For how long what a provider publishes is believed: keys that it takes back end within an hour."""

KEYS_AGAIN_S = 15.0
"""How often an unknown key has the keys fetched: tokens of made-up keys must not make us ask all the time."""

UNDER_WAY_MAX = 8
"""Exchanges at once: with a slow provider, more would keep the threads that other requests need."""

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Provider:
    """One identity provider. Asks it when it is needed first, so that a control plane starts without it."""

    def __init__(self, settings: LoginSettings, now: Callable[[], float], fetch: Fetch | None = None) -> None:
        self.settings = settings
        self._now, self._fetch = now, fetch or Fetcher()
        self._lock = threading.Lock()
        self._under_way = threading.BoundedSemaphore(UNDER_WAY_MAX)
        self._published: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def address(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where somebody's browser is sent. Raises `Refused`."""
        with self._turn():
            authorize = self._endpoint("authorization_endpoint")
        return str(
            prepare_grant_uri(
                authorize, self.settings.client_id, "code", redirect_uri, " ".join(self.settings.scopes), state,
                nonce=nonce, code_challenge=create_s256_code_challenge(verifier), code_challenge_method="S256",
            )
        )  # fmt: skip

    def claims(self, code: str, redirect_uri: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        """What the provider says of whoever came back with a code. Blocks for seconds. Raises `Refused`."""
        with self._turn():
            answer = self._exchange(code, redirect_uri, verifier)
            claims = self._believed(answer, nonce)
            return self._with_more(claims, answer.get("access_token"))

    def _turn(self) -> "_Turn":
        return _Turn(self._under_way)

    def _exchange(self, code: str, redirect_uri: str, verifier: str) -> Mapping[str, Any]:
        body = prepare_token_request("authorization_code", "", redirect_uri, code=code, code_verifier=verifier)
        client = ClientAuth(self.settings.client_id, self.settings.client_secret, self._client_auth())
        url, headers, body = client.prepare("POST", self._endpoint("token_endpoint"), dict(FORM), body)
        return self._fetch("POST", url, headers, body)

    def _client_auth(self) -> str:
        if not self.settings.client_secret:
            return "none"
        # OpenID Connect Discovery 1.0, section 3: without the list it is client_secret_basic.
        offered = self._metadata().get("token_endpoint_auth_methods_supported")
        only_post = (
            isinstance(offered, list) and "client_secret_basic" not in offered and "client_secret_post" in offered
        )
        return "client_secret_post" if only_post else "client_secret_basic"

    def _believed(self, answer: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        for again in (False, True):
            try:
                return id_tokens.believed(
                    answer.get("id_token"), self._key_set(fresh=again), self.settings, nonce,
                    answer.get("access_token"), self._now(),
                )  # fmt: skip
            except id_tokens.UnknownKey:
                continue
        raise Refused(Reason.NOT_BELIEVED, "the ID token is signed with a key that the provider does not publish")

    def _with_more(self, claims: Mapping[str, Any], access_token: object) -> Mapping[str, Any]:
        """With what only the provider's user information has, where the ID token lacks what we go by."""
        wanted = {self.settings.person, self.settings.groups.partition(".")[0]} | (
            {"email"} if self.settings.domains else set()
        )
        if wanted <= set(claims) or not isinstance(access_token, str) or "userinfo_endpoint" not in self._metadata():
            return claims
        more = self._fetch("GET", self._endpoint("userinfo_endpoint"), {"Authorization": f"Bearer {access_token}"})
        # OpenID Connect Core 1.0, section 5.3.2: or it may be somebody else's.
        if more.get("sub") != claims["sub"]:
            raise Refused(Reason.NOT_BELIEVED, "the provider's user information is of somebody else")
        return {**more, **claims}

    def _endpoint(self, name: str) -> str:
        url = self._metadata().get(name)
        ours = self.settings.issuer.partition(":")[0]
        if (
            not isinstance(url, str)
            or not is_address(url.partition("?")[0])
            or not url.startswith(("https:", f"{ours}:"))
        ):
            raise Refused(Reason.UNREACHABLE, f"the provider publishes no {name} that may be asked")
        return url

    def _metadata(self) -> Mapping[str, Any]:
        """What the provider publishes of itself (OpenID Connect Discovery 1.0, section 4)."""
        with self._lock:
            known = self._published
            if known is not None and 0 <= self._now() - known[0] < KEPT_S:
                return known[1]
            found = self._fetch("GET", self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.settings.issuer:
                what = (
                    f"the provider calls itself {str(found.get('issuer'))[:200]!r}; write login.issuer just like that"
                )
                raise Refused(Reason.UNREACHABLE, what)
            self._published = (self._now(), found)
            return found

    def _key_set(self, *, fresh: bool) -> KeySet:
        """Its public keys; with `fresh` those of now, unless they were fetched a moment ago."""
        url = self._endpoint("jwks_uri")
        with self._lock:
            kept_s = KEYS_AGAIN_S if fresh else KEPT_S
            if self._keys is not None and 0 <= self._now() - self._keys[0] < kept_s:
                return self._keys[1]
            self._keys = (self._now(), id_tokens.keys(self._fetch("GET", url)))
            return self._keys[1]


class _Turn:
    """One of a bounded number of turns. Raises `Refused` at once when there is none."""

    def __init__(self, turns: threading.BoundedSemaphore) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        if not self._turns.acquire(blocking=False):
            raise Refused(Reason.BUSY, f"{UNDER_WAY_MAX} logins are under way, and the provider is slow")

    def __exit__(self, *_error: object) -> None:
        self._turns.release()
