"""Repeats what is safe to repeat: reads and terminates. A launch is never repeated here."""

import random
from collections.abc import Callable
from typing import TypeVar

from godwit.domain.errors import ProviderUnavailable, RateLimited
from godwit.providers.layers.wrapping import Layer
from godwit.providers.protocol import Provider

Answer = TypeVar("Answer")

TRIES = 3
"""Calls at the most. Whoever asked asks again in seconds anyway, so this only bridges a hiccup."""

WAIT_S = 5.0
"""A provider that asks for a longer pause than this is left alone; the caller gets the error, which names the pause."""


class Retrying(Layer):
    """Repeats a call that found the provider away or too busy, after a pause with jitter: 0.2 s, then 0.4 s."""

    def __init__(self, inner: Provider, sleep: Callable[[float], None], rng: random.Random) -> None:
        super().__init__(inner)
        self._sleep, self._rng = sleep, rng

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        if method == "launch":
            return ask()
        for tried in range(1, TRIES):
            try:
                return ask()
            except RateLimited as limited:
                if limited.retry_after_s > WAIT_S:
                    raise
                self._sleep(limited.retry_after_s)
            except ProviderUnavailable:
                self._sleep(0.2 * 2 ** (tried - 1) * self._rng.uniform(0.5, 1.0))
        return ask()
