"""One poll of NVML under the names of NVIDIA's DCGM exporter."""

from collections.abc import Callable, Iterator, Mapping

from godwit.agents.checks.gpu.reading import Gpu
from godwit.agents.checks.gpu.whole import Poll
from godwit.agents.metrics import described

MIB = 1024 * 1024
_DRIVER = "nvmlSystemGetDriverVersion"
_CORRECTABLE, _UNCORRECTABLE, _FAILURE = 0, 1, 3
"""Places in the answer of nvmlDeviceGetRemappedRows: corrected, uncorrected, pending, failure."""


def _row(place: int) -> Callable[[Gpu], float | None]:
    return lambda gpu: float(gpu.values["rows"][place]) if "rows" in gpu.values else None


def _plain(name: str, per: float = 1.0) -> Callable[[Gpu], float | None]:
    def value(gpu: Gpu) -> float | None:
        number = gpu.number(name)
        return None if number is None else number / per

    return value


READ: Mapping[str, Callable[[Gpu], float | None]] = {
    "DCGM_FI_DEV_GPU_UTIL": _plain("utilisation"),
    "DCGM_FI_DEV_MEM_COPY_UTIL": _plain("memory_utilisation"),
    "DCGM_FI_DEV_SM_CLOCK": _plain("sm_clock_mhz"),
    "DCGM_FI_DEV_MEM_CLOCK": _plain("memory_clock_mhz"),
    "DCGM_FI_DEV_GPU_TEMP": _plain("temperature"),
    "DCGM_FI_DEV_MEMORY_TEMP": _plain("memory_temperature"),
    "DCGM_FI_DEV_POWER_USAGE": _plain("power_mw", 1_000.0),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": _plain("energy_mj"),
    "DCGM_FI_DEV_FB_USED": _plain("used_bytes", MIB),
    "DCGM_FI_DEV_FB_FREE": _plain("free_bytes", MIB),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": _plain("pcie_replays"),
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": _plain("ecc_corrected"),
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": _plain("ecc_uncorrected"),
    "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL": _plain("ecc_uncorrected_ever"),
    "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": _row(_CORRECTABLE),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": _row(_UNCORRECTABLE),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": _row(_FAILURE),
}
"""What each is made of; a value that this GPU does not have is left out, never 0."""

XID = "DCGM_FI_DEV_XID_ERRORS"


def labels(gpu: Gpu, poll: Poll, hostname: str) -> tuple[str, ...]:
    """In the order of `described.OF_GPU`."""
    model = str(gpu.values.get("model_name") or gpu.model)
    where = (str(gpu.index), gpu.uuid, gpu.pci, f"nvidia{gpu.index}")
    return (*where, model, hostname, poll.versions.get(_DRIVER, ""))


def samples(poll: Poll, xids: Mapping[str, int], hostname: str) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """Name, label values and value of everything that this poll says, metric by metric."""
    known = [(gpu, labels(gpu, poll, hostname)) for gpu in poll.gpus if gpu.uuid]
    for name, read in READ.items():
        for gpu, of in known:
            value = read(gpu)
            if value is not None:
                yield name, of, value
    for gpu, of in known:
        yield XID, of, float(xids.get(gpu.uuid, 0))


assert {*READ, XID} == set(described.GPU)
