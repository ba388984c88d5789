"""EC2's adapter on moto with its emulator in front."""

from collections.abc import Iterator

from godwit.providers.aws.provider import AwsProvider

from tests.contract.rigs import Rig
from tests.emulators.aws.emulator import ACCESS_KEY_ID, AwsEmulator
from tests.emulators.rigs import emulated


def rig() -> Iterator[Rig]:
    """A 5xx promises nothing; no Retry-After; stock is not told. moto is slow to answer for the first time only."""
    for rig in emulated(
        AwsEmulator(), AwsProvider, {"image": "ami-12c6146b"}, secret="secret_access_key",
        secrets={"access_key_id": ACCESS_KEY_ID}, promises_on_5xx=False, says_retry_after=False, shows_capacity=False,
    ):  # fmt: skip
        rig.provider.offers()
        yield rig
