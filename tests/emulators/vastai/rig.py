"""Vast.ai's adapter on its emulator."""

from collections.abc import Iterator

from godwit.providers.vastai.provider import VastProvider

from tests.contract.rigs import Rig
from tests.emulators.rigs import emulated
from tests.emulators.vastai.emulator import VastEmulator


def rig() -> Iterator[Rig]:
    """A 5xx promises nothing; no Retry-After; an ask that is sold is not offered."""
    yield from emulated(VastEmulator(), VastProvider, promises_on_5xx=False, says_retry_after=False)
