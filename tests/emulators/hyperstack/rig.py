"""Hyperstack's adapter on its emulator."""

from collections.abc import Iterator

from godwit.providers.hyperstack.provider import HyperstackProvider

from tests.contract.rigs import Rig
from tests.emulators.hyperstack.emulator import HyperstackEmulator
from tests.emulators.rigs import emulated


def rig() -> Iterator[Rig]:
    """A 5xx promises nothing; no Retry-After; the listing has no prices."""
    yield from emulated(
        HyperstackEmulator(), HyperstackProvider, {"ssh_key": "k-ca"}, promises_on_5xx=False, says_retry_after=False,
        lists_price=False,
    )  # fmt: skip
