"""Xids that NVML tells are read like the driver's own lines."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from godwit.agents.checks.gpu import events
from godwit.agents.checks.gpu.events import EventLines
from godwit.agents.checks.kernel.parsing import read

from tests.agents.conftest import eventually


class Error(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class Binding:
    """An NVML with two GPUs, of which the first knows no events; then a quiet time, an Xid, and the driver's end."""

    NVMLError = Error

    def __init__(self) -> None:
        self.registered: list[int] = []
        self._told: Iterator[Any] = iter([Error(10), SimpleNamespace(device=1, eventData=79), Error(999)])

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlDeviceGetCount": 2,
            "nvmlDeviceGetPciInfo": SimpleNamespace(busId=b"00000000:18:00.0"),
        }
        return lambda *_args: answers.get(name)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetSupportedEventTypes(self, handle: int) -> int:  # noqa: N802
        return 0x8 if handle else 0

    def nvmlDeviceRegisterEvents(self, handle: int, _mask: int, _events: Any) -> None:  # noqa: N802
        self.registered.append(handle)

    def nvmlEventSetWait_v2(self, _events: Any, _wait_ms: int) -> Any:  # noqa: N802
        told = next(self._told)
        if isinstance(told, Error):
            raise told
        return told


def test_an_event_becomes_a_line_that_the_parser_reads() -> None:
    nvml = Binding()
    told = events.lines(nvml, iter([1] * 9))
    found = read(next(told))
    assert nvml.registered == [1]
    with pytest.raises(Error):  # the driver's end is the process's end
        next(told)
    assert found is not None
    assert (found.code, found.pci) == ("xid:79", "00000000:18:00")


def test_lines_of_the_listening_process_are_records_whose_positions_grow() -> None:
    program = "print('NVRM: Xid (PCI:0000:18:00): 79, told by NVML'); print('NVRM: Xid (PCI:0000:18:00): 48, told')"
    source = EventLines([sys.executable, "-c", program], now=lambda: 5.0)
    records = eventually(lambda: source.read(0.1))
    assert records[0].text.startswith("NVRM: Xid")
    assert [record.position for record in records] == [5_000, 5_001][: len(records)]
    source.stop()
    assert source.read(0.0) == [], "one that ended is not started again at once"
