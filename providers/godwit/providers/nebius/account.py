"""One service account at Nebius: calls through the SDK, each made once and bounded in time, with a token of its own.

The SDK's own renewal of tokens goes on in the background when the credentials are wrong, and the call that waits for
it ends as a time-out; so the token is bought here, by the SDK's request for it, and the refusal is seen as what it is.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from godwit.domain import errors
from godwit.domain.clock import Clock
from godwit.domain.errors import InvalidRequest, Problem
from godwit.providers.nebius import words
from nebius.aio.channel import NoCredentials
from nebius.api.nebius.iam.v1 import TokenExchangeServiceClient
from nebius.base.options import INSECURE
from nebius.base.resolver import Constant
from nebius.base.service_account.service_account import ServiceAccount
from nebius.sdk import SDK

PAGE_SIZE = 200
"""The largest that its capacity service takes (its API description, 2026-10); the others take it too."""

MAX_PAGES = 1_000
"""A listing longer than this is a token that turns in a circle."""

RENEW_AFTER = 0.8
"""The share of a token's life after which it is renewed: of twelve hours, two and a half are left then."""

IDEMPOTENCY_KEY = "x-idempotency-key"


class Account:
    """Calls by one service account. Safe to call from several threads.

    `url` replaces every service's address; with `http://` it is spoken to without encryption and past any proxy.
    """

    def __init__(self, name: str, secrets: Mapping[str, str], url: str | None, timeout_s: float, clock: Clock) -> None:
        self._name, self._timeout_s, self._clock = name, timeout_s, clock
        self._subject = ServiceAccount(
            _private_key(secrets.get("private_key", "")),
            secrets.get("public_key_id", ""),
            secrets.get("service_account_id", ""),
        )
        self._sdk = SDK(credentials=NoCredentials(), user_agent_prefix="godwit", **_address(url))
        self._token = ""
        self._renew_at = 0.0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close its connections."""
        self._sdk.sync_close(self._timeout_s)

    def ask(self, service: Any, method: str, request: Any, *, launching: bool = False, key: str | None = None) -> Any:
        """One call of one service's method; returns its message. `key` makes a repeated call harmless.

        Raises a `ProviderError`; `launching` says that an answer that never came may have bought a machine.
        """
        metadata = [("authorization", f"Bearer {self._bearer()}")]
        if key is not None:
            metadata.append((IDEMPOTENCY_KEY, key))
        try:
            return self._call(service, method, request, metadata, launching=launching)
        except errors.CredentialsRejected:
            with self._lock:
                self._renew_at = 0.0  # the next call starts with a new one
            raise

    def every(self, service: Any, request: Callable[[str], Any], method: str = "list") -> list[Any]:
        """Every item of a paged list: `request(page_token)` asks for a page."""
        found: list[Any] = []
        token = ""
        for _ in range(MAX_PAGES):
            page = self.ask(service, method, request(token))
            found += page.items
            token = page.next_page_token
            if not token:
                return found
        raise errors.ProviderUnavailable(f"{self._name}: a list of more than {MAX_PAGES} pages does not end")

    def _bearer(self) -> str:
        with self._lock:
            if self._clock.now() >= self._renew_at:
                with words.translated(self._name):
                    request = self._subject.get_exchange_token_request()
                answer = self._call(TokenExchangeServiceClient, "exchange", request, [])
                self._token = answer.access_token
                self._renew_at = self._clock.now() + RENEW_AFTER * answer.expires_in
            return self._token

    def _call(
        self, service: Any, method: str, request: Any, metadata: list[tuple[str, str]], *, launching: bool = False
    ) -> Any:
        with words.translated(self._name, launching=launching):
            asked = getattr(service(self._sdk), method)(
                request,
                metadata=metadata,
                timeout=self._timeout_s,
                auth_timeout=self._timeout_s,
                per_retry_timeout=self._timeout_s,
                retries=0,
            )
            asked.wait_for_ready = False  # an address where nobody listens is told at once, not at the time-out
            return asked.wait()


def _address(url: str | None) -> dict[str, Any]:
    if url is None:
        return {}
    parts = urlsplit(url if "//" in url else f"https://{url}")
    plain: list[tuple[str, Any]] = [(INSECURE, True), ("grpc.enable_http_proxy", 0)]
    return {"resolver": Constant(parts.netloc), "options": plain if parts.scheme == "http" else []}


def _private_key(text: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        what = "private_key must be the PEM text of an RSA key without a password"
        # Without the cause: its text may repeat what was given.
        raise InvalidRequest(problems=[Problem(("private_key",), what)]) from None
    return key
