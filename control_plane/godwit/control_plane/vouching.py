"""What one control plane says to another of an agent: that the one who shows this credential showed its certificate."""

import hashlib
import hmac

from godwit.control_plane.keyring import Keyring

LIFE_S = 60.0
"""For how long it is believed: a request is carried on at once, and clocks of control planes differ by seconds."""

_EXPIRY_DIGITS_MAX = 12


def vouch(keyring: Keyring, credential: str, now: float) -> str:
    """For this one credential: `<expiry, hex>.<HMAC-SHA256>`."""
    expiry = f"{int(now + LIFE_S):x}"
    return f"{expiry}.{keyring.vouched(expiry, _digest(credential))}"


def is_vouched(keyring: Keyring, credential: str, said: str, now: float) -> bool:
    """Whether a control plane with our key said so, and lately."""
    expiry, _, signature = said.partition(".")
    if not 0 < len(expiry) <= _EXPIRY_DIGITS_MAX or not set(expiry) <= set("0123456789abcdef"):
        return False
    expected = keyring.vouched(expiry, _digest(credential))
    return hmac.compare_digest(signature.encode(), expected.encode()) and now < int(expiry, 16) <= now + 2 * LIFE_S


def _digest(credential: str) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()
