"""All GPUs of a node sum one message together, as each step of data-parallel training does."""

import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, multiprocessing

ROUNDS, WARM_UP = 20, 5
"""As NVIDIA/NVSentinel's preflight."""

TIMEOUT_S = 45.0
"""For NCCL to come up and to answer: it takes up to some 20 s on eight GPUs."""


def all_reduce(ranks: int, size_bytes: int, *, is_cuda: bool) -> tuple[float, str]:
    """Bus bandwidth in GB/s, as nccl-tests define it, and what was wrong with the sum, if anything was.

    One process for each rank; raises `RuntimeError` where one of them failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            # CUDA does not survive a fork; without it a fork saves each rank the seconds of loading PyTorch.
            method = "spawn" if is_cuda else "fork"
            args = (ranks, size_bytes, is_cuda, folder)
            multiprocessing.start_processes(_rank, args, nprocs=ranks, start_method=method)
        except (multiprocessing.ProcessRaisedException, multiprocessing.ProcessExitedException) as exc:
            raise RuntimeError(str(exc)[-2_000:]) from exc
        seconds, wrong = (Path(folder) / "answer").read_text().split(" ", 1)
    return size_bytes * 2 * (ranks - 1) / ranks / float(seconds) / 1e9, wrong.strip()


def _rank(rank: int, ranks: int, size_bytes: int, is_cuda: bool, folder: str) -> None:
    distributed.init_process_group(
        "nccl" if is_cuda else "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=TIMEOUT_S),
    )
    place = torch.device("cuda", rank) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(place)
    message = torch.full((size_bytes // 4,), float(rank + 1), device=place)
    distributed.all_reduce(message)
    expected = ranks * (ranks + 1) / 2  # small whole numbers: exact in fp32, in whatever order they are summed
    wrong = int((message != expected).sum())
    message.zero_()  # sums of zeros stay finite, however many rounds
    for _ in range(WARM_UP):
        distributed.all_reduce(message)
    _wait(is_cuda)
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        distributed.all_reduce(message)
    _wait(is_cuda)
    seconds = (time.perf_counter() - begin) / ROUNDS
    said = f"{wrong} of {message.numel()} sums came out wrong on rank {rank}" if wrong else ""
    answers: list[tuple[float, str] | None] = [None] * ranks
    distributed.all_gather_object(answers, (seconds, said))
    if rank == 0:
        told = [answer for answer in answers if answer is not None]
        slowest = max(seconds for seconds, _ in told)
        (Path(folder) / "answer").write_text(f"{slowest} {'; '.join(said for _, said in told if said)[:1_000]}")
    distributed.destroy_process_group()


def _wait(is_cuda: bool) -> None:
    if is_cuda:
        torch.cuda.synchronize()
