"""Lambda's adapter on its emulator."""

from collections.abc import Iterator

from godwit.providers.lambdalabs.provider import LambdaProvider

from tests.contract.rigs import Rig
from tests.emulators.lambdalabs.emulator import SHAPES, LambdaEmulator
from tests.emulators.rigs import emulated


def rig() -> Iterator[Rig]:
    """A 5xx promises nothing; an end is not listed; no Retry-After."""
    yield from emulated(
        LambdaEmulator(SHAPES), LambdaProvider, {"ssh_key": "k1"}, secret="api_key", promises_on_5xx=False,
        says_retry_after=False, shows_capacity=False,
    )  # fmt: skip
