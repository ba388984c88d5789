"""Real measurements, by PyTorch: on CUDA, or on this machine's CPU with sizes that take a blink.

Imported in the child process only, where PyTorch is installed.
"""

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts; without it results may vary

import torch
from godwit.agents.checks.active import collective

SEED = 20_412
"""Any number, but always the same: equal GPUs must come to equal bits, over nodes too."""


@dataclass(frozen=True)
class Sizes:
    """How much is computed. `side` of the square matrices; `chain` products in a row for each format's digest;
    `bytes` of the buffer that is copied; `reduce_bytes` of the message; `least_s` of each rate's measurement."""

    side: int
    chain: dict[str, int]
    copy_bytes: int
    reduce_bytes: int
    least_s: float


ON_GPU = Sizes(8192, {"bf16": 64, "fp32": 8}, 4 * 2**30, 4 * 2**30, 0.3)
"""A side of 8192 fills every GPU since Ampere (stas00/ml-engineering's finder peaks from there on); the chains are some
0.1 s each; all-reduce with 256 MB does not reach the peak on eight GPUs (nccl-tests #272)."""

ON_CPU = Sizes(64, {"bf16": 2, "fp32": 2}, 2**20, 2**18, 0.0)
"""Enough that every line of the same code runs."""

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_WORD = {"bf16": torch.int16, "fp32": torch.int32}


@functools.cache
def _matrices(side: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Start and factor, made on the host, which is slow enough (a second) to be done once for all GPUs."""
    source = torch.Generator().manual_seed(SEED)
    start = torch.randn(side, side, generator=source)
    factor = torch.randn(side, side, generator=source) / side**0.5
    return start.to(DTYPES[kind]), factor.to(DTYPES[kind])


class TorchDevice:
    """One GPU as PyTorch sees it (`place` "cuda:0"), or the CPU."""

    def __init__(self, index: int, place: str, sizes: Sizes) -> None:
        self.index = index
        self._place = torch.device(place)
        self._sizes = sizes

    def digest(self, kind: str) -> str:
        """A chain of products of matrices from a fixed seed, folded into one word by integer sums.

        Integer sums come out the same in whatever order they are made, so only the products are under test. Each
        factor has a variance of 1/side: the chain neither grows nor dies away.
        """
        start, factor = (matrix.to(self._place) for matrix in _matrices(self._sizes.side, kind))
        result = start
        for _ in range(self._sizes.chain[kind]):
            result = result @ factor
        words = result.contiguous().view(_WORD[kind]).flatten().to(torch.int64)
        places = torch.arange(1, words.numel() + 1, device=self._place, dtype=torch.int64)
        return f"{int((words * places).sum()) & (2**64 - 1):016x}"

    def rate(self, check: str) -> float:
        """Matmul in TFLOPS (dense bf16), the others in GB/s."""
        return {"matmul": self._matmul, "bandwidth": self._bandwidth, "host-copy": self._host_copy}[check]()

    def _matmul(self) -> float:
        side = self._sizes.side
        a = torch.randn(side, side, device=self._place).to(torch.bfloat16)
        seconds = self._timed(lambda: torch.matmul(a, a))
        return 2 * side**3 / seconds / 1e12

    def _bandwidth(self) -> float:
        source = torch.ones(self._sizes.copy_bytes, dtype=torch.uint8, device=self._place)
        target = torch.empty_like(source)
        seconds = self._timed(lambda: target.copy_(source))
        return 2 * self._sizes.copy_bytes / seconds / 1e9  # each byte is read and written

    def _host_copy(self) -> float:
        """The slower of both directions."""
        size = self._sizes.copy_bytes // 16  # pinning more takes longer than copying it
        host = torch.ones(size, dtype=torch.uint8, pin_memory=self._is_cuda)
        there = torch.empty(size, dtype=torch.uint8, device=self._place)
        down = self._timed(lambda: there.copy_(host, non_blocking=True))
        back = self._timed(lambda: host.copy_(there, non_blocking=True))
        return size / max(down, back) / 1e9

    def _timed(self, act: Callable[[], object]) -> float:
        """Seconds that one `act` takes, over at least `least_s` and three rounds after three of warm-up."""
        for _ in range(3):
            act()
        self._wait()
        begin, rounds, spent = time.perf_counter(), 0, 0.0
        while rounds < 3 or spent < self._sizes.least_s:
            for _ in range(3):
                act()
            self._wait()
            rounds, spent = rounds + 3, time.perf_counter() - begin
        return max(spent / rounds, 1e-9)

    @property
    def _is_cuda(self) -> bool:
        return bool(self._place.type == "cuda")

    def _wait(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize(self._place)


class TorchFleet:
    """The GPUs of one order: CUDA's devices in the order in which CUDA_VISIBLE_DEVICES names them; or the CPU."""

    def __init__(self, indexes: list[int], *, is_cuda: bool) -> None:
        # Without these, the same products may be made in another order, or with fewer bits, and nothing be broken.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # would cost time, and nothing here reads such
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        if not is_cuda:
            torch.set_num_threads(1)  # threads of OpenMP do not survive the fork of the ranks
        self._is_cuda = is_cuda
        self._sizes = ON_GPU if is_cuda else ON_CPU
        places = [f"cuda:{n}" if is_cuda else "cpu" for n in range(len(indexes))]
        self.devices = [TorchDevice(index, place, self._sizes) for index, place in zip(indexes, places, strict=True)]

    def all_reduce(self) -> tuple[float, str]:
        """By NCCL, or by gloo on the CPU."""
        if self._is_cuda:
            torch.cuda.empty_cache()
        return collective.all_reduce(len(self.devices), self._sizes.reduce_bytes, is_cuda=self._is_cuda)


def cuda_devices() -> int:
    """How many GPUs CUDA shows."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
