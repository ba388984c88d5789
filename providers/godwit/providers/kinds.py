"""What a kind of provider is: how it is built, what it may be told, and which secrets it needs."""

import math
import pkgutil
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from godwit.domain.clock import Clock
from godwit.domain.errors import InvalidRequest, Problem
from godwit.providers.protocol import Provider


@dataclass(frozen=True)
class Setup:
    """What an adapter is built from: its entry in the configuration, its secrets, and its seams.

    `options` are the entry's own keys; `url`, where a kind takes it, replaces the vendor's address (tests do).
    """

    name: str
    home: Path
    clock: Clock
    rng: random.Random
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def seconds(self, option: str, default: float) -> float:
        """An option that is a positive number of seconds. Raises `InvalidRequest`."""
        return self.positive(option, default, "number of seconds")

    def positive(self, option: str, default: float, what_it_is: str = "number") -> float:
        """An option that is a positive number. Raises `InvalidRequest`."""
        value = self.options.get(option, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            what = f"{option} must be a positive {what_it_is}, not {value!r}"
            raise InvalidRequest(problems=[Problem((option,), what, (f"{default:g}",))])
        return float(value)


@dataclass(frozen=True)
class Rates:
    """Calls per second that the provider documents, all together and launches alone; None: no limit told."""

    calls_per_s: float | None = None
    launches_per_s: float | None = None


@dataclass(frozen=True)
class Kind:
    """One kind of provider, light enough to list without loading any SDK.

    `adapter` names the class as `package.module:Class`; it takes one `Setup`. `options` and `secrets` are the keys it
    accepts: option to what it means, secret to where a person finds it. `once`: only one of it makes sense.
    `extra` names godwit's extra that brings the packages it needs.
    """

    title: str
    adapter: str
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    once: bool = False
    extra: str = ""

    def build(self, setup: Setup) -> Provider:
        """The adapter itself; loads what it needs.

        Raises `InvalidRequest` for options that make no sense, and when a package is missing, with how to install it.
        """
        try:
            adapter = pkgutil.resolve_name(self.adapter)
        except ModuleNotFoundError as exc:
            what = f"{self.title} needs {exc.name}, which is not installed: pip install 'godwit[{self.extra}]'"
            raise InvalidRequest(problems=[Problem(("kind",), what)]) from exc
        provider: Provider = adapter(setup)
        return provider
