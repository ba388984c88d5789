"""Crusoe's request signature, version 1.0 (API documentation, authentication, read in August 2026)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Generator
from datetime import UTC, datetime

import httpx
from godwit.domain.clock import Clock
from godwit.domain.errors import CredentialsRejected


class Signature(httpx.Auth):
    """Signs each request with the time of `clock`; Crusoe refuses one that is minutes off."""

    def __init__(self, access_key_id: str, secret_key: str, clock: Clock) -> None:
        self._access_key_id, self._secret_key, self._clock = access_key_id, secret_key, clock

    def __repr__(self) -> str:
        return "Signature()"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the two headers. Raises `CredentialsRejected` for a secret that cannot be one."""
        timestamp = datetime.fromtimestamp(int(self._clock.now()), UTC).isoformat()
        signature = signed(self._secret_key, request.method, request.url, timestamp)
        request.headers["X-Crusoe-Timestamp"] = timestamp
        request.headers["Authorization"] = f"Bearer 1.0:{self._access_key_id}:{signature}"
        yield request


def signed(secret_key: str, method: str, url: httpx.URL, timestamp: str) -> str:
    """The signature; of the query, the decoded values count, sorted. Raises `CredentialsRejected`."""
    query = "&".join(f"{key}={value}" for key, value in sorted(url.params.multi_items()))
    message = f"{url.path}\n{query}\n{method}\n{timestamp}\n".encode()
    digest = hmac.new(_key(secret_key), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _key(secret_key: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(secret_key + "=" * (-len(secret_key) % 4))
    except (binascii.Error, ValueError):
        # `from None`: the error behind it would carry the secret's characters into logs.
        raise CredentialsRejected("Crusoe's secret key is not one: copy it again, whole") from None
