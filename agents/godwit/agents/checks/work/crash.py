"""Whether the end of a failed program points at hardware: its last lines, read for errors of CUDA and NCCL. Pure."""

import re
from collections.abc import Iterable

from godwit.agents.effects import Found, Stopped
from godwit.domain.health import Grade

SIGNS: tuple[tuple[str, str], ...] = (
    ("cuda:ecc", r"uncorrectable ECC error|cudaErrorECCUncorrectable|CUDA_ERROR_ECC_UNCORRECTABLE"),
    ("cuda:nvlink", r"uncorrectable NVLink error|cudaErrorNvlinkUncorrectable|CUDA_ERROR_NVLINK_UNCORRECTABLE"),
    ("cuda:hardware-stack", r"cudaErrorHardwareStackError|hardware stack error"),
    ("cuda:lost", r"GPU is lost|cudaErrorDevicesUnavailable|CUDA-capable device\(s\) is/are busy or unavailable"),
    ("cuda:no-device", r"no CUDA-capable device is detected|cudaErrorNoDevice"),
    ("cuda:contained", r"cudaErrorContained|invalid/contained"),
    ("cuda:illegal-instruction", r"illegal instruction was encountered"),
    ("cuda:illegal-address", r"illegal memory access was encountered|cudaErrorIllegalAddress"),
    ("cuda:misaligned-address", r"misaligned address"),
    ("cuda:assert", r"device-side assert triggered"),
    ("cuda:launch-failure", r"unspecified launch failure|cudaErrorLaunchFailure"),
    ("cuda:launch-timeout", r"launch timed out and was terminated"),
    ("cublas", r"CUBLAS_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"),
    ("cudnn", r"CUDNN_STATUS_(?:EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"),
    ("nccl:watchdog", r"Watchdog caught collective operation timeout|ncclWatchdog.*(?:timeout|timed out)"),
    ("nccl:network", r"ncclRemoteError|NCCL remote (?:process exited|error)|NET/IB : Got completion .* with status"),
    ("nccl:system", r"ncclSystemError|ncclUnhandledCudaError|ncclInternalError|NCCL error"),
    ("cuda:other", r"CUDA error: (?!out of memory)|cudaError(?!MemoryAllocation)[A-Z]\w+"),
)
"""The most telling first. Words of the CUDA runtime API ("cudaError_t"), of PyTorch's ProcessGroupNCCL and of NCCL.

Running out of memory is missing on purpose: it is always the program's."""

_COMPILED = tuple((code, re.compile(pattern)) for code, pattern in SIGNS)

LINE_CHARS_MAX, LINES_MAX = 500, 5


def code_of(lines: Iterable[str]) -> tuple[str, list[str]] | None:
    """The most telling sign in these lines, and the lines that show it; None when there is no sign."""
    text = [line[:LINE_CHARS_MAX] for line in lines]
    for code, pattern in _COMPILED:
        showing = [line for line in text if pattern.search(line)]
        if showing:
            return code, showing[:LINES_MAX]
    return None


def attribution(end: Stopped) -> Found | None:
    """What the end of an attempt says of this node. It suggests nothing: a program can bring about most of these."""
    if end.outcome != "failed":
        return None
    found = code_of(end.last_lines)
    if found is None:
        return None
    code, showing = found
    evidence: dict[str, str | int | float] = {f"line{n}": line for n, line in enumerate(showing, 1)}
    if end.exit_code is not None:
        evidence["exit_code"] = end.exit_code
    reason = f"the program failed with an error of its GPUs or their links ({code}): {showing[-1].strip()[:300]}"
    return Found("crash", Grade.DEGRADED, reason, code, attempt_id=end.attempt_id, evidence=evidence)
