"""Secrets at rest: each version under a data key of its own, and that key under the home's.

    value ── AES-256-GCM, data key ──▶ text        data key ── AES-256-GCM, key-encryption key ──▶ wrapped

Both carry the project, the name and the version as associated data (NIST SP 800-38D), so that a row that is moved to
another name does not open. Which key wrapped a data key stands beside it: a new key re-wraps data keys, and no value
is opened for that.
"""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from godwit.domain.errors import Conflict

_NONCE_BYTES = 12
"""What GCM is defined for without another hash (SP 800-38D, 5.2.1.1). Each data key seals once, so that no nonce can
meet itself; a key-encryption key would have to wrap 2^32 data keys before that is a question."""


@dataclass(frozen=True)
class About:
    """Whose value it is: what is sealed for one does not open as another's."""

    project: str
    name: str
    version: int

    def as_bytes(self) -> bytes:
        """The same as associated data; neither part can hold the separator."""
        return f"godwit secret/{self.project}/{self.name}/{self.version}".encode()


@dataclass(frozen=True)
class Sealed:
    """A sealed value: its text, its data key as the key `key_id` wrapped it. Each is a nonce and what follows it."""

    key_id: str
    wrapped: str
    text: str


class Envelope:
    """Seals and opens with the first of `keys`; opens also what the others sealed. Without any it does neither.

    `keys` are the home's, 32 bytes each: what is used is derived from them, and serves nothing else.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        derived = [_derived(key, b"godwit: key-encryption key of secrets") for key in keys]
        self._keys = {_key_id(key): AESGCM(key) for key in derived}
        self._current = _key_id(derived[0]) if derived else ""

    def __repr__(self) -> str:
        return "Envelope(...)"

    @property
    def key_id(self) -> str:
        """The key that seals now, by a number that tells nothing of it."""
        return self._current

    def seal(self, value: str, about: About) -> Sealed:
        """Seal a value under a fresh data key. Raises `Conflict` where there is no key."""
        data_key = AESGCM.generate_key(bit_length=256)
        text = _encrypted(AESGCM(data_key), value.encode(), about)
        return Sealed(self._current, _encrypted(self._key(self._current), data_key, about), text)

    def open(self, sealed: Sealed, about: About) -> str:
        """The value. Raises `Conflict` when it was sealed with another key, or as another's."""
        data_key = self._data_key(sealed, about)
        return _decrypted(AESGCM(data_key), sealed.text, about).decode()

    def rewrapped(self, sealed: Sealed, about: About) -> Sealed:
        """The same with its data key wrapped by the current key; the value stays closed."""
        wrapped = _encrypted(self._key(self._current), self._data_key(sealed, about), about)
        return replace(sealed, key_id=self._current, wrapped=wrapped)

    def _data_key(self, sealed: Sealed, about: About) -> bytes:
        return _decrypted(self._key(sealed.key_id), sealed.wrapped, about)

    def _key(self, key_id: str) -> AESGCM:
        if key_id not in self._keys:
            raise Conflict(
                f"secrets cannot be opened: they were sealed with key {key_id or '(none)'}; "
                "restore credentials.key (or GODWIT_CREDENTIALS_KEY), or set the secrets again"
            )
        return self._keys[key_id]


def _derived(key: bytes, purpose: bytes) -> bytes:
    """RFC 5869: a key for one purpose, from which neither the home's key nor that of another purpose follows."""
    return HKDF(SHA256(), 32, salt=None, info=purpose).derive(key)


def _key_id(derived: bytes) -> str:
    return hashlib.sha256(b"godwit key id/" + derived).hexdigest()[:12]


def _encrypted(key: AESGCM, content: bytes, about: About) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(nonce + key.encrypt(nonce, content, about.as_bytes())).decode()


def _decrypted(key: AESGCM, text: str, about: About) -> bytes:
    raw = base64.b64decode(text)
    try:
        return key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], about.as_bytes())
    except InvalidTag as exc:
        raise Conflict(
            f"secret {about.name}@{about.version} of project {about.project} cannot be opened: its row was changed; "
            "set it again"
        ) from exc
