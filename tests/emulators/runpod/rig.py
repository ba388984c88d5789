"""RunPod's adapter on its emulator."""

from collections.abc import Iterator

from godwit.providers.runpod.provider import RunPodProvider

from tests.contract.rigs import Rig
from tests.emulators.rigs import emulated
from tests.emulators.runpod.emulator import RunPodEmulator


def rig() -> Iterator[Rig]:
    """A 5xx promises nothing."""
    yield from emulated(RunPodEmulator(), RunPodProvider, promises_on_5xx=False)
