"""What NVML says of a GPU, as plain values that cross from the reading process to the agent. Standard library only."""

import ctypes
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from godwit.agents.checks.rules import Described, Rule, Sign

NOT_APPLICABLE = frozenset({2, 3, 4, 6, 13, 25})
"""InvalidArgument, NotSupported, NoPermission, NotFound, FunctionNotFound, ArgumentVersionMismatch: this GPU, driver
or guest has no such thing, which is never a fault."""

CORRUPTED_INFOROM, GPU_IS_LOST, RESET_REQUIRED, VERSION_MISMATCH, UNKNOWN = 14, 15, 16, 18, 999
ERROR_NAMES = {
    9: "DriverNotLoaded",
    10: "Timeout",
    12: "LibraryNotFound",
    CORRUPTED_INFOROM: "CorruptedInforom",
    GPU_IS_LOST: "GpuIsLost",
    RESET_REQUIRED: "ResetRequired",
    VERSION_MISMATCH: "LibRmVersionMismatch",
    UNKNOWN: "Unknown",
}
"""Numbers of nvmlReturn_t (nvml.h)."""

_SIGNED, _DOUBLE = frozenset({4, 5}), 0
"""nvmlValueType_t: 0 double, 1 to 3 unsigned, 4 signed long long, 5 signed int, 6 unsigned short."""


class Probe:
    """Takes values of one GPU: what is not applicable is left out, any other error is kept by the value's name."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self.values: dict[str, Any] = {}
        self.errors: dict[str, int] = {}

    def take(self, name: str, function: str, *args: Any, of: Callable[[Any], Any] = lambda value: value) -> None:
        """Call `function(handle, *args)` and keep `of` its result."""
        try:
            self.values[name] = of(getattr(self._nvml, function)(self._handle, *args))
        except (AttributeError, TypeError, ValueError):
            return  # the binding does not know the function, or knows it in another form
        except self._nvml.NVMLError as exc:
            if exc.value not in NOT_APPLICABLE:
                self.errors[name] = exc.value

    def field(self, name: str, number: int, scope: int | None = None) -> None:
        """Keep the value of a field."""
        wanted = number if scope is None else (number, scope)
        self.take(name, "nvmlDeviceGetFieldValues", [wanted], of=lambda found: _value(self._nvml, found[0]))
        if self.values.get(name, 0) is None:
            del self.values[name]

    def struct(self, name: str, kind: str, function: str, *parts: str) -> None:
        """Fill a structure of the binding, and keep these parts of it."""
        try:
            filled = getattr(self._nvml, kind)()
        except AttributeError:
            return
        self.take(
            name, function, ctypes.byref(filled), of=lambda _: {part: int(getattr(filled, part)) for part in parts}
        )


def _value(nvml: Any, found: Any) -> int | float | None:
    """A field's value by its type; None where it is not applicable. Raises as a call would where it failed."""
    if found.nvmlReturn:
        if found.nvmlReturn in NOT_APPLICABLE:
            return None
        raise nvml.NVMLError(found.nvmlReturn)
    if found.valueType == _DOUBLE:
        return float(found.value.dVal)
    return int(found.value.sllVal if found.valueType in _SIGNED else found.value.ullVal)


@dataclass(frozen=True)
class Gpu:
    """One GPU in one poll. `at` is in seconds on a clock that does not go back; `held`: an attempt has it."""

    index: int
    uuid: str
    pci: str = ""
    model: str = ""
    at: float = 0.0
    held: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """A value as a number; None where it is not there."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) else None

    def rose(self, name: str, before: "Gpu | None") -> float:
        """By how much a counter rose since the poll before; 0 where that is not known, or where it began anew."""
        now, then = self.number(name), before.number(name) if before is not None else None
        return max(0.0, now - then) if now is not None and then is not None else 0.0

    def rate(self, name: str, before: "Gpu | None") -> float:
        """By how much a counter rose per second."""
        took_s = self.at - before.at if before is not None else 0.0
        return self.rose(name, before) / took_s if took_s > 0 else 0.0


Judge = Callable[[Gpu, Gpu | None], list[Sign]]


@dataclass(frozen=True)
class GpuCheck:
    """A check of one GPU: `read` takes values in the reading process, `judge` says what this poll and the one before
    it mean. `keys` are names of values without which there is nothing to judge. `every`: read in each n-th poll only.
    """

    name: str
    reads: str
    rules: tuple[Rule, ...]
    read: Callable[[Probe], None]
    judge: Judge
    keys: Collection[str]
    every: int = 1

    @property
    def described(self) -> Described:
        """For the documentation."""
        return Described(self.name, self.reads, self.rules)

    def applies(self, gpu: Gpu) -> bool:
        """Whether this poll says something about it: a call that failed for another reason is no clean sample."""
        return any(key in gpu.values or gpu.errors.get(key) == CORRUPTED_INFOROM for key in self.keys)


def sign(rule: Rule, gpu: Gpu, reason: str, **evidence: str | float) -> Sign:
    """A sign of this GPU."""
    return Sign(rule, reason, gpu.uuid, {"index": gpu.index, "pci": gpu.pci, **evidence})


def named(code: int) -> str:
    """What NVML calls an error."""
    return ERROR_NAMES.get(code, f"error {code}")


def values_of(gpus: Sequence[Gpu], name: str) -> dict[str, list[str]]:
    """Which GPUs (UUIDs) say what; those that say nothing are left out."""
    said: dict[str, list[str]] = {}
    for gpu in gpus:
        if name in gpu.values:
            said.setdefault(str(gpu.values[name]), []).append(gpu.uuid)
    return said
