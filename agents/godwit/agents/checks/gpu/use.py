"""How hard a GPU works: read in each poll for metrics, judged by nobody."""

from godwit.agents.checks.gpu.reading import Probe

_SM, _MEMORY = 1, 2
"""NVML_CLOCK_SM, NVML_CLOCK_MEM."""

_MEMORY_V2 = 33554472
"""nvmlMemory_v2: only this version says what the driver reserves, apart from what is used."""


def read(probe: Probe) -> None:
    """Memory in bytes, clocks in MHz, energy in mJ since the driver was loaded."""
    probe.take("memory_utilisation", "nvmlDeviceGetUtilizationRates", of=lambda rates: int(rates.memory))
    probe.take("free_bytes", "nvmlDeviceGetMemoryInfo", _MEMORY_V2, of=lambda memory: int(memory.free))
    probe.take("sm_clock_mhz", "nvmlDeviceGetClockInfo", _SM)
    probe.take("memory_clock_mhz", "nvmlDeviceGetClockInfo", _MEMORY)
    probe.take("energy_mj", "nvmlDeviceGetTotalEnergyConsumption")


def read_load(probe: Probe) -> None:
    """What is read between polls: percent of the time in which a kernel ran, memory in bytes, power in mW."""
    probe.take("busy", "nvmlDeviceGetUtilizationRates", of=lambda rates: int(rates.gpu))
    probe.take("total_bytes", "nvmlDeviceGetMemoryInfo", _MEMORY_V2, of=lambda memory: int(memory.total))
    probe.take("used_bytes", "nvmlDeviceGetMemoryInfo", _MEMORY_V2, of=lambda memory: int(memory.used))
    probe.take("power_mw", "nvmlDeviceGetPowerUsage")
