"""DigitalOcean's adapter on its emulator."""

from collections.abc import Iterator

from godwit.providers.digitalocean.provider import DigitalOceanProvider

from tests.contract.rigs import Rig
from tests.emulators.digitalocean.emulator import DigitalOceanEmulator
from tests.emulators.rigs import emulated


def rig() -> Iterator[Rig]:
    """A 5xx promises nothing."""
    yield from emulated(
        DigitalOceanEmulator(), DigitalOceanProvider, {"ssh_key": "3b:16"}, secret="token", promises_on_5xx=False
    )
