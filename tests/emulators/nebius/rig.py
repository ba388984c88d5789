"""Nebius' adapter on its emulator, by the vendor's SDK."""

from collections.abc import Iterator

from godwit.providers.nebius.provider import NebiusProvider

from tests.contract.rigs import Rig
from tests.emulators.nebius.emulator import PROJECT, NebiusEmulator
from tests.emulators.nebius.keys import PRIVATE_KEY, SERVICE_ACCOUNT
from tests.emulators.rigs import emulated


def rig() -> Iterator[Rig]:
    """UNAVAILABLE promises nothing, states are numbers; the impatient client has its token and project already."""
    for rig in emulated(
        NebiusEmulator(), NebiusProvider, {"projects": [PROJECT]}, secret="public_key_id",
        secrets={"service_account_id": SERVICE_ACCOUNT, "private_key": PRIVATE_KEY}, promises_on_5xx=False,
        says_retry_after=False, unknown_word="UNRECOGNIZED_99",
    ):  # fmt: skip
        rig.impatient.offers()
        yield rig
