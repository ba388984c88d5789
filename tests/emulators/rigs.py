"""From an emulator and an adapter to a rig of the contract suite."""

import gc
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from godwit.providers.kinds import Setup
from godwit.providers.protocol import Provider
from godwit.providers.simulated.faults import Faults

from tests.contract.rigs import Rig
from tests.emulators.emulator import API_KEY, Emulator

IMPATIENT_S = 0.4
PATIENT_S = 60.0
"""On a machine that is busy, an emulator in this very process may need ten."""


def emulated(
    emulator: Emulator,
    adapter: Callable[[Setup], Provider],
    options: Mapping[str, Any] | None = None,
    *,
    secret: str = "api_key",
    secrets: Mapping[str, str] | None = None,
    **traits: Any,
) -> Iterator[Rig]:
    """A rig whose provider talks to `emulator` over a socket; afterwards nothing may have gone against the description.

    `secret` names the credential that `with_wrong_key` has wrong; `secrets` are further ones. `traits` are fields of
    `Rig`.
    """
    with emulator.serving() as url, _no_pauses():

        def build(address: str, key: str, timeout_s: float) -> Provider:
            chosen = {**(options or {}), "url": address, "timeout_s": timeout_s}
            keys = {**(secrets or {}), secret: key}
            return adapter(Setup("emulated", Path("/nowhere"), emulator.clock, random.Random(7), chosen, keys))

        def set_faults(faults: Faults) -> None:
            with emulator.lock:
                emulator.cloud.set_faults(faults)

        def pass_time(seconds: float) -> None:
            with emulator.lock:
                emulator.clock.advance(max(seconds, 0.5))

        yield Rig(
            provider=build(url, API_KEY, PATIENT_S),
            impatient=build(url, API_KEY, IMPATIENT_S),
            pass_time=pass_time,
            set_faults=set_faults,
            secret=API_KEY,
            with_wrong_key=build(url, "wrong-key", PATIENT_S),
            unreachable=build("http://127.0.0.1:9", API_KEY, 2.0),
            **traits,
        )
    assert not emulator.invalid, "against the vendor's description:\n" + "\n".join(sorted(set(emulator.invalid)))


@contextmanager
def _no_pauses() -> Iterator[None]:
    """No search for garbage while a rig is in use.

    All emulators together keep so many objects, moto's above all, that one search stops the process for up to half a
    second, which is longer than an impatient client waits.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
