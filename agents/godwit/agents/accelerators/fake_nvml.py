"""NVML as a profile has it: what `pynvml` would say on a node that exists on paper, faults included.

Calls are looked up by their text, "nvmlDeviceGetTotalEccErrors(1, 0)", in the profile of the GPU's model; what injected
faults change lies over it. A call that no profile knows is not supported, as on a real GPU. Standard library only: it
runs in the reading process.
"""

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from godwit.agents.accelerators import faults, profiles

NOT_SUPPORTED, INVALID_ARGUMENT, GPU_IS_LOST = 3, 2, 15
HANG_S = 3_600.0
"""How long a hanging driver does not answer; whoever asked is ended before, or has lost its agent."""


class FakeError(Exception):
    """As pynvml's `NVMLError`: `value` is the number of the error."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class Blank(ctypes.Structure):
    """A structure that takes whatever a call puts into it."""

    _fields_ = ()


class FakeNvml:
    """An NVML-like object for the node whose folder this is."""

    NVMLError = FakeError

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gpus = profiles.listed(folder)
        self._changed: tuple[int, int] | None = None
        self._over: dict[int, dict[str, Any]] = {}
        self._refresh()

    def nvmlInit(self) -> None:  # noqa: N802
        """Open the library; a fault of the driver shows here."""
        self.nvmlDeviceGetCount()

    def nvmlShutdown(self) -> None:  # noqa: N802
        """Nothing to close."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """How many GPUs the driver shows now."""
        self._refresh()
        self._hang()
        driver = self._over.get(faults.NODE, {})
        if "nvmlInit()" in driver:
            raise FakeError(int(driver["nvmlInit()"]["error"]))
        return len(self._shown())

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        """A handle: the GPU's own number, whatever it is listed as."""
        shown = self._shown()
        if index >= len(shown):
            raise FakeError(INVALID_ARGUMENT)
        return shown[index]

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        """The UUID, which even a lost GPU still has."""
        return str(self._gpus[handle]["uuid"])

    def nvmlDeviceGetPciInfo(self, handle: int) -> Any:  # noqa: N802
        """The address on the bus."""
        return SimpleNamespace(busId=profiles.bus_id(handle).encode())

    def nvmlDeviceGetFieldValues(self, handle: int, wanted: list[Any]) -> list[Any]:  # noqa: N802
        """Each entry has its own result, as in the library."""
        return [self._field(handle, one) for one in wanted]

    def nvmlDeviceGetP2PStatus(self, handle: int, other: int, index: int) -> int:  # noqa: N802
        """How two GPUs reach each other: as well as the worse of them."""
        return max(int(self._value(one, f"nvmlDeviceGetP2PStatus({index})")) for one in (handle, other))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("c_nvml"):
            return Blank
        if name.startswith("nvmlDevice"):
            return lambda handle, *args: self._call(handle, name, args)
        if name.startswith("nvmlSystem"):
            return lambda *args: self._system(_text(name, args))
        raise AttributeError(name)

    def _call(self, handle: int, name: str, args: tuple[Any, ...]) -> Any:
        filled = [arg._obj for arg in args if type(arg).__name__ == "CArgObject"]
        plain = tuple(arg for arg in args if type(arg).__name__ != "CArgObject")
        found = self._value(handle, _text(name, plain))
        if filled:
            vars(filled[0]).update(found)
            return 0
        return self._plain(found)

    def _value(self, handle: int, text: str) -> Any:
        over = self._over.get(handle, {})
        found = over.get("*", over.get(text, _looked_up(self._gpus[handle]["profile"], text)))
        if isinstance(found, dict) and "error" in found:
            raise FakeError(int(found["error"]))
        if isinstance(found, dict) and "per_s" in found:
            return int(found["per_s"] * (time.time() - found["since"])) + found.get("from", 0)
        return found

    def _system(self, text: str) -> Any:
        found = _looked_up(self._gpus[0]["profile"] if self._gpus else {}, text)
        if isinstance(found, dict):
            raise FakeError(int(found["error"]))
        return found

    def _plain(self, found: Any) -> Any:
        return SimpleNamespace(**found) if isinstance(found, dict) else found

    def _field(self, handle: int, wanted: Any) -> Any:
        try:
            value = self._value(
                handle, f"field({', '.join(map(str, wanted)) if isinstance(wanted, tuple) else wanted})"
            )
        except FakeError as exc:
            return SimpleNamespace(nvmlReturn=exc.value)
        whole = SimpleNamespace(ullVal=value, sllVal=value, dVal=float(value))
        return SimpleNamespace(nvmlReturn=0, valueType=3, value=whole)

    def _shown(self) -> list[int]:
        return [index for index in range(len(self._gpus)) if "absent" not in self._over.get(index, {})]

    def _hang(self) -> None:
        """Come back once the fault has ended, or the agent has."""
        parent, deadline = os.getppid(), time.monotonic() + HANG_S
        while "blocks" in self._over.get(faults.NODE, {}) and os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(0.2)
            self._refresh()

    def _refresh(self) -> None:
        """Read the injected faults again if they changed."""
        path = faults.state_path(self._folder)
        try:
            stat = path.stat()
            changed = (stat.st_mtime_ns, stat.st_ino)
        except FileNotFoundError:
            changed = None
        if changed != self._changed:
            self._over = faults.overlays(self._folder)
            self._changed = changed


def _text(name: str, args: tuple[Any, ...]) -> str:
    return f"{name}({', '.join(map(str, args))})"


def _looked_up(profile: Mapping[str, Any], text: str) -> Any:
    return profile.get(text, {"error": NOT_SUPPORTED})
