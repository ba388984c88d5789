"""Crusoe's adapter on its emulator."""

from collections.abc import Iterator

from godwit.providers.crusoe.provider import CrusoeProvider

from tests.contract.rigs import Rig
from tests.emulators.crusoe.emulator import ACCESS_KEY_ID, PROJECT, CrusoeEmulator
from tests.emulators.rigs import emulated

OPTIONS = {"project": PROJECT, "ssh_public_key": "ssh-ed25519 AAAA", "poll_s": 0.001}
SECRETS = {"access_key_id": ACCESS_KEY_ID}


def rig() -> Iterator[Rig]:
    """A 5xx promises nothing; no Retry-After."""
    yield from emulated(
        CrusoeEmulator(), CrusoeProvider, OPTIONS, secret="secret_key", secrets=SECRETS, promises_on_5xx=False,
        says_retry_after=False,
    )  # fmt: skip
