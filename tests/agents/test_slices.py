"""A GPU that is cut into slices (MIG) is shown as its slices, and programs find these by their UUIDs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from godwit.agents import machine
from godwit.agents.accelerators import nvml


class NotFound(Exception):
    """NVML: no slice has this number."""


class NotSupported(Exception):
    """NVML: this GPU cannot be cut."""


def driver(*cards: tuple[str, list[str | None] | None]) -> Any:
    """An NVML-like object: cards by name, each with its slices by number (None: a gap), or None if it cannot be cut."""

    def mode(card: tuple[str, Any]) -> list[int]:
        if card[1] is None:
            raise NotSupported
        return [1 if card[1] else 0, 0]

    def slice_of(card: tuple[str, Any], index: int) -> tuple[str, None]:
        if card[1][index] is None:
            raise NotFound
        return (f"{card[0]} MIG {card[1][index]}", None)

    return SimpleNamespace(
        NVML_DEVICE_MIG_ENABLE=1, NVMLError_NotFound=NotFound, NVMLError_NotSupported=NotSupported,
        NVMLError_FunctionNotFound=NotSupported, nvmlDeviceGetCount=lambda: len(cards),
        nvmlDeviceGetHandleByIndex=lambda index: cards[index], nvmlDeviceGetMigMode=mode,
        nvmlDeviceGetMaxMigDeviceCount=lambda card: len(card[1]), nvmlDeviceGetMigDeviceHandleByIndex=slice_of,
        nvmlDeviceGetName=lambda device: device[0], nvmlDeviceGetUUID=lambda device: f"uuid of {device[0]}",
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(total=10 * 2**30 if "MIG" in device[0] else 80 * 2**30),
    )  # fmt: skip


def test_slices_are_numbered_through_and_whole_gpus_stay_whole() -> None:
    found = nvml.facts(driver(("NVIDIA H100 80GB HBM3", ["1g.10gb", None, "2g.20gb"]), ("NVIDIA H100 80GB HBM3", [])))
    assert [(gpu.index, gpu.model) for gpu in found] == [
        (0, "H100-SXM-MIG-1g.10gb"), (1, "H100-SXM-MIG-2g.20gb"), (2, "H100-SXM"),
    ]  # fmt: skip


def test_devices_go_by_uuid_where_there_are_slices_and_by_number_elsewhere(tmp_path: Path) -> None:
    assert machine.known_devices(tmp_path) == {}
    machine.remember_devices(tmp_path, nvml.facts(driver(("NVIDIA L4", None))))
    assert machine.known_devices(tmp_path) == {}
    machine.remember_devices(tmp_path, nvml.facts(driver(("NVIDIA A100-SXM4-80GB", ["1g.10gb"]))))
    assert machine.known_devices(tmp_path) == {0: "uuid of NVIDIA A100-SXM4-80GB MIG 1g.10gb"}
