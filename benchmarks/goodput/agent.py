"""What the agent of one machine makes of its kernel's lines and of its values: by godwit's own checks, not by ours.

Lines go through the kernel log's parser, values through the judges of the GPU checks, the last words of a program
through the reading of crashes; a ledger says what of it is new, as on a real node.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from godwit.agents.checks.gpu.catalogue import CHECKS
from godwit.agents.checks.gpu.reading import GPU_IS_LOST, Gpu
from godwit.agents.checks.kernel.parsing import Parser
from godwit.agents.checks.kernel.watch import Bursts
from godwit.agents.checks.ledger import Ledger
from godwit.agents.checks.pci import address
from godwit.agents.checks.rules import Rule, Sign
from godwit.agents.checks.work import crash
from godwit.agents.effects import Found, Stopped
from godwit.domain.health import Grade, Remedy

from benchmarks.goodput.faults import KINDS, Effect
from benchmarks.goodput.machines import BUSES, Machine

MODEL = "NVIDIA H100 80GB HBM3"
HEALTHY: Mapping[str, Any] = {
    "recovery_action": 0, "ecc_uncorrected": 0, "ecc_mode": [1, 1], "sram": {"bThresholdExceeded": 0},
    "rows": [0, 0, 0, 0], "clock_reasons": 0, "temperature": 60, "margin": 25, "nvlink_states": [1] * 18,
    "name": MODEL,
}  # fmt: skip
"""Of a sound H100 at work."""

SHOWN: Mapping[str, Mapping[str, Any]] = {
    "nvlink-fatal": {"nvlink_states": [1] * 17 + [0]},
    "ecc-uncorrected": {"ecc_uncorrected": 3},
    "row-remap-pending": {"rows": [0, 1, 1, 0], "ecc_uncorrected": 0},
    "row-remap-failure": {"rows": [0, 9, 0, 1], "ecc_uncorrected": 1},
    "sram-threshold": {"sram": {"bThresholdExceeded": 1}, "ecc_uncorrected": 2},
    "thermal": {"temperature": 89, "margin": -4, "clock_reasons": 0x48},
}
"""What differs from it, by what a kind of fault shows."""

PORT_DOWN = Rule("port:down", "a port is down for 4 min", Grade.UNHEALTHY, Remedy.REPLACE_NODE, "gpud infiniband", 8, 8)
"""Sampled every 30 s from the host's `/sys`, for which a simulated machine has no folder."""


class Agent:
    """The agent of one machine; made when there is something to say of it."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._parser, self._bursts = machine, Parser(), Bursts()
        self._ledger = Ledger(self._boot_id)
        self._before: dict[int, Gpu] = {}

    @property
    def _boot_id(self) -> str:
        return f"{self._machine.serial}-{self._machine.boot}"

    def read(self, lines: Iterable[str], now: float) -> list[Found]:
        """Lines of the kernel log, heard at `now`."""
        signs = [sign for line in lines for sign in self._parser.feed(line)]
        told = [event for sign in signs for event in self._bursts.take(sign, now)]
        return [
            self._ledger.happened(
                Found(
                    sign.check, sign.rule.grade, sign.reason, sign.code, sign.rule.remedy, self._gpu_at(sign.pci),
                    evidence={**sign.evidence, "line": sign.line},
                ),
                sign.rule.clears,
            )
            for sign in told
        ]  # fmt: skip

    def poll(self, now: float) -> list[Found]:
        """One reading of all values. Of GPUs that always were as they should be there is nothing to tell."""
        indexes = {fault.gpu for fault in self._machine.faults} | self._before.keys()
        told: list[Found] = []
        for index in sorted(indexes):
            gpu, before = self._gpu(index, now), self._before.get(index)
            for check in CHECKS:
                if check.applies(gpu):
                    told += self._ledger.sample(check.name, gpu.uuid, check.rules, check.judge(gpu, before))
            self._before[index] = gpu
        is_down = any(fault.kind.shows == "ib-down" for fault in self._machine.faults)
        down = [Sign(PORT_DOWN, "a port of the fabric is down")] if is_down else []
        return [*told, *self._ledger.sample("ports", None, (PORT_DOWN,), down)]

    def was_reset(self, gpus: Iterable[int]) -> list[Found]:
        """These GPUs were reset."""
        return self._ledger.was_reset([self._machine.uuid(gpu) for gpu in gpus])

    def booted(self) -> list[Found]:
        """The machine was booted, and this is its new agent."""
        self._ledger = Ledger(self._boot_id, self._ledger.to_list())
        self._bursts, self._before = Bursts(), {}
        return self._ledger.booted()

    def _gpu(self, index: int, now: float) -> Gpu:
        values, errors = dict(HEALTHY), {}
        for fault in self._machine.faults:
            if fault.gpu == index and fault.kind.shows == "gpu-lost":
                values, errors = {}, dict.fromkeys(("name", "temperature"), GPU_IS_LOST)
            elif fault.gpu == index and values:
                values |= SHOWN.get(fault.kind.shows, {})
        return Gpu(index, self._machine.uuid(index), self._machine.pci(index), MODEL, now, True, values, errors)

    def _gpu_at(self, pci: str) -> str | None:
        where = address(pci)
        return next(
            (
                self._machine.uuid(index)
                for index in range(len(BUSES))
                if where is not None and address(self._machine.pci(index)) == where
            ),
            None,
        )


def last_words(attempt_id: str, cause: str) -> Found | None:
    """What the head's agent reads in the output of a program that ended with an error because of this kind of fault."""
    return crash.attribution(Stopped(attempt_id, "failed", 1, last_lines=_words(cause)))


def _words(cause: str) -> tuple[str, ...]:
    """Frameworks print the first rank's error and, of the others, that a peer went away."""
    if cause in _WORDS:
        return _WORDS[cause]
    kind = KINDS[cause]
    if kind.is_of_network or kind.effect in {Effect.HANG, Effect.DEAD}:
        return ("[rank1] Watchdog caught collective operation timeout: WorkNCCL(OpType=ALLREDUCE)",)
    return (
        f"RuntimeError: CUDA error: {_ERRORS.get(kind.shows, 'unspecified launch failure')}",
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting",
    )


_WORDS: Mapping[str, tuple[str, ...]] = {
    "exception": ("ValueError: expected 4096 tokens, found 4095",),
    "not-a-number": ("FloatingPointError: the loss is nan",),
    "out-of-memory": ("ray.exceptions.WorkerCrashedError: The worker died unexpectedly",),
    "segfault": ("Fatal Python error: Segmentation fault",),
    "xid-13": ("RuntimeError: CUDA error: an illegal memory access was encountered",),
    "xid-31": ("RuntimeError: CUDA error: an illegal memory access was encountered",),
    "stubborn-31": ("RuntimeError: CUDA error: an illegal memory access was encountered",),
    "disk": ("OSError: [Errno 30] Read-only file system",),
}
_ERRORS: Mapping[str, str] = {
    "gpu-lost": "unknown error: GPU is lost",
    "ecc-uncorrected": "uncorrectable ECC error encountered",
    "row-remap-pending": "uncorrectable ECC error encountered",
    "row-remap-failure": "uncorrectable ECC error encountered",
    "sram-threshold": "uncorrectable ECC error encountered",
    "nvlink-fatal": "uncorrectable NVLink error detected",
}
