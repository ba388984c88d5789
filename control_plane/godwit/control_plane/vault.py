"""Providers' credentials at rest: encrypted with Fernet (AES-128-CBC and HMAC-SHA256; cryptography's documentation)."""

import json
from collections.abc import Mapping, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from godwit.domain.errors import Conflict


class Vault:
    """Seals and opens credentials with one key; a sealed text is safe to store, and says nothing but its length.

    `former` keys open what they sealed, and seal nothing more.
    """

    def __init__(self, key: bytes, former: Sequence[bytes] = ()) -> None:
        self._present = Fernet(key)
        self._fernet = MultiFernet([self._present, *map(Fernet, former)])

    def __repr__(self) -> str:
        return "Vault(...)"

    def seal(self, values: Mapping[str, str]) -> str:
        """The values as one encrypted text."""
        return self._fernet.encrypt(json.dumps(dict(values)).encode()).decode()

    def open(self, sealed: str) -> dict[str, str]:
        """The values of a sealed text. Raises `Conflict` when it was sealed with another key."""
        try:
            values: dict[str, str] = json.loads(self._fernet.decrypt(sealed.encode()))
        except InvalidToken as exc:
            raise Conflict(
                "stored credentials cannot be opened: they were sealed with another key; "
                "restore credentials.key (or GODWIT_CREDENTIALS_KEY), or add the provider again"
            ) from exc
        return values

    def resealed(self, sealed: str) -> str | None:
        """The same values sealed with the present key, None where they are. Raises `Conflict` like `open`."""
        try:
            self._present.decrypt(sealed.encode())
        except InvalidToken:
            return self.seal(self.open(sealed))
        return None


def new_key() -> bytes:
    """A fresh key."""
    return Fernet.generate_key()
