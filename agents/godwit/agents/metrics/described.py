"""Every metric of an agent, and what bounds the values of each label. `docs/metrics.md` is made from it.

Those of GPUs have the names, units and labels that NVIDIA's DCGM exporter gives them (default-counters.csv and the
label set of its 4.x releases), so that dashboards made for it show these too. They are of one poll of NVML.
"""

from collections.abc import Mapping

from godwit.domain.metrics import Described

OF_GPU = ("gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION")

BOUNDS: Mapping[str, str] = {
    "gpu": "GPUs of one node, 16 at most",
    "UUID": "as `gpu`",
    "pci_bus_id": "as `gpu`",
    "device": "as `gpu`",
    "modelName": "as the driver says; one or two on a node",
    "Hostname": "one",
    "DCGM_FI_DRIVER_VERSION": "one",
    "grade": "grades of findings: degraded, unhealthy",
    "outcome": "answered, unanswered",
    "version": "one",
}

_G, _C = "gauge", "counter"


def _of_gpu(name: str, kind: str, what: str) -> Described:
    return Described(name, "counter" if kind == _C else "gauge", what, OF_GPU)


GPU: Mapping[str, Described] = {
    of.name: of
    for of in (
        _of_gpu("DCGM_FI_DEV_GPU_UTIL", _G, "GPU utilization (in %)."),
        _of_gpu("DCGM_FI_DEV_MEM_COPY_UTIL", _G, "Memory utilization (in %)."),
        _of_gpu("DCGM_FI_DEV_SM_CLOCK", _G, "SM clock frequency (in MHz)."),
        _of_gpu("DCGM_FI_DEV_MEM_CLOCK", _G, "Memory clock frequency (in MHz)."),
        _of_gpu("DCGM_FI_DEV_GPU_TEMP", _G, "GPU temperature (in C)."),
        _of_gpu("DCGM_FI_DEV_MEMORY_TEMP", _G, "Memory temperature (in C)."),
        _of_gpu("DCGM_FI_DEV_POWER_USAGE", _G, "Power draw (in W)."),
        _of_gpu("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", _C, "Energy since the driver was loaded (in mJ)."),
        _of_gpu("DCGM_FI_DEV_FB_USED", _G, "Framebuffer memory used (in MiB)."),
        _of_gpu("DCGM_FI_DEV_FB_FREE", _G, "Framebuffer memory free (in MiB)."),
        _of_gpu("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", _C, "PCIe retries."),
        _of_gpu("DCGM_FI_DEV_XID_ERRORS", _G, "The last Xid since the agent began; 0 without any."),
        _of_gpu("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", _C, "Single-bit volatile ECC errors."),
        _of_gpu("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", _C, "Double-bit volatile ECC errors."),
        _of_gpu("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", _C, "Double-bit persistent ECC errors."),
        _of_gpu("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", _C, "Rows remapped for correctable errors."),
        _of_gpu("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", _C, "Rows remapped for uncorrectable errors."),
        _of_gpu("DCGM_FI_DEV_ROW_REMAP_FAILURE", _G, "1 where a row could not be remapped."),
    )
}
"""By name."""

BUILD = Described("godwit_agent_build_info", "gauge", "Always 1; the version is a label.", ("version",))
HEARTBEATS = Described("godwit_agent_heartbeats_total", "counter", "Heartbeats, by what became of them.", ("outcome",))
ANSWERED_AT = Described(
    "godwit_agent_heartbeat_answered_timestamp_seconds", "gauge", "When a heartbeat was last answered."
)  # fmt: skip
LEASE_LEFT = Described("godwit_agent_lease_remaining_seconds", "gauge", "What is left of the lease; 0 without one.")
ATTEMPTS = Described("godwit_agent_attempts", "gauge", "Attempts that live on this node.")
WAITING = Described("godwit_agent_observations_waiting", "gauge", "Observations that are not acknowledged.")
SPOOL = Described("godwit_agent_spool_bytes", "gauge", "Output of attempts on disk that was not sent yet.")
DISK_FREE = Described("godwit_agent_disk_free_bytes", "gauge", "Free room where the node's folder lies.")
DISK_SIZE = Described("godwit_agent_disk_size_bytes", "gauge", "Room where the node's folder lies.")
FINDINGS = Described("godwit_agent_findings", "gauge", "Findings that are not over.", ("grade",))
POLLED_AT = Described("godwit_agent_gpus_polled_timestamp_seconds", "gauge", "When the driver last answered a poll.")

OWN = (
    BUILD, HEARTBEATS, ANSWERED_AT, LEASE_LEFT, ATTEMPTS, WAITING, SPOOL, DISK_FREE, DISK_SIZE, FINDINGS, POLLED_AT,
)  # fmt: skip
METRICS: tuple[Described, ...] = (*OWN, *GPU.values())
