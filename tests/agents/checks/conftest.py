"""Nodes on paper, watched without threads: one poll at a time."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.accelerators import faults, profiles
from godwit.agents.accelerators.fake_nvml import FakeNvml
from godwit.agents.checks import watching
from godwit.agents.checks.gpu.poller import Reader
from godwit.agents.checks.host.reading import Host
from godwit.agents.checks.kernel.records import AppendedFile
from godwit.agents.checks.kernel.watch import KernelWatch
from godwit.agents.checks.ledger import Ledger
from godwit.agents.checks.watching import Watched
from godwit.agents.effects import Found


@dataclass
class Bench:
    """A simulated node in a folder, its driver read in this process."""

    folder: Path
    model: str = "H100-SXM"
    gpus: int = 4
    held: Collection[int] = ()
    now: float = 1_000.0
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        facts = [{"index": i, "uuid": f"GPU-{i}", "model": self.model, "memory_gib": 80.0} for i in range(self.gpus)]
        (self.folder / profiles.LISTED).write_text(json.dumps(facts))
        faults.lay_out(self.folder)
        expected = {f"GPU-{i}": profiles.bus_id(i) for i in range(self.gpus)}
        self.watched = Watched(expected, dict.fromkeys(expected, self.model))
        self.ledger = Ledger("boot-1")
        self.reader = Reader(FakeNvml(self.folder))
        self.host = Host(faults.host_root(self.folder), self.folder)
        tell: Callable[[Any], None] = lambda sign: self.lines.append(sign.code)  # noqa: E731
        self.kernel = KernelWatch(AppendedFile(faults.kernel_log(self.folder)), self.folder / "k.json", "boot-1", tell)

    def poll(self, times: int = 1) -> list[Found]:
        """So many polls, 30 s apart; what they told."""
        told = []
        for _ in range(times):
            self.now += 30.0
            poll = watching.poll_of(self.reader.poll(), self.watched, self.held, self.now)
            told += watching.judge(poll, self.watched, self.ledger)
            told += watching.judge_host(self.host, self.watched, self.ledger, self.now)
        return told

    def heard(self) -> list[str]:
        """Codes of the kernel lines since the last call."""
        self.lines.clear()
        self.kernel.step(0.0)
        return list(self.lines)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda **more: Bench(tmp_path, **more)
