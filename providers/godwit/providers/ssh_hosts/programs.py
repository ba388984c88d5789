"""What is run on a host and how its answers read. The programs themselves are in host.sh."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from godwit.domain import gpu_names
from godwit.domain.offers import InstanceState

_HOST = Path(__file__).with_name("host.sh").read_text()
_MARK = "godwit: "
_END = "done"

STATES: Mapping[str, InstanceState] = {
    "starting": InstanceState.PROVISIONING,
    "running": InstanceState.RUNNING,
    "ending": InstanceState.STOPPING,
    "ended": InstanceState.TERMINATED,  # its script ended well and nothing of it is left
    "failed": InstanceState.FAILED,
}
"""The words of host.sh; one that is not here was said by another version of it, and is `UNKNOWN`."""

OVER = ("ended", "failed")
"""Words of machines that hold their host no more: the next launch takes it."""


class Unreadable(ValueError):
    """An answer that is not whole, or not ours."""


@dataclass(frozen=True)
class Facts:
    """What a lock says of its machine, as the control plane that launched it wrote it down."""

    id: str
    token: str
    owner: str
    instance_type: str
    price_usd_per_hour: float
    created_at: float


@dataclass(frozen=True)
class Machine:
    """A machine as its host tells of it; `word` is host.sh's, empty where the host was not heard."""

    facts: Facts
    word: str

    @property
    def state(self) -> InstanceState:
        """The word in terms common to all providers."""
        return STATES.get(self.word, InstanceState.UNKNOWN)


@dataclass(frozen=True)
class Shape:
    """What a host has; `trouble` says why it is not to be offered."""

    cpus: int
    memory_gib: float
    gpu_model: str | None
    gpu_count: int
    gpu_memory_gib: float
    trouble: str = ""

    @property
    def instance_type(self) -> str:
        """Such as 8xH100-SXM, or 16xCPU."""
        return f"{self.gpu_count}x{self.gpu_model}" if self.gpu_model else f"{self.cpus}xCPU"


def call(verb: str, *arguments: str) -> str:
    """A program that runs one verb of host.sh. It runs whole or not at all."""
    words = " ".join(shlex.quote(argument) for argument in arguments)
    return f"{{\n{_HOST}\n{verb} {words}\nsay {_END}\nexit\n}}\n"


def answers(text: str) -> list[tuple[str, str]]:
    """The lines (word, rest) of a program's answer. Raises `Unreadable` when its end is missing."""
    ours = [line.removeprefix(_MARK).partition(" ") for line in text.splitlines() if line.startswith(_MARK)]
    lines = [(word, rest) for word, _, rest in ours]
    if not lines or lines[-1] != (_END, ""):
        raise Unreadable(f"an answer without its end: {text[-200:]!r}")
    return lines[:-1]


def machines(lines: list[tuple[str, str]]) -> list[Machine]:
    """The machines in an answer. Raises `Unreadable`."""
    return [_machine(rest) for word, rest in lines if word == "machine"]


def written(facts: Facts) -> str:
    """Facts as one line for the lock."""
    return json.dumps(asdict(facts))


def read(line: str) -> Facts:
    """Facts from such a line. Raises `Unreadable`."""
    try:
        return Facts(**json.loads(line))
    except (TypeError, ValueError) as exc:
        raise Unreadable(f"a lock that cannot be read: {line[:200]!r}") from exc


def shape(lines: list[tuple[str, str]]) -> Shape:
    """What `probe` found. Raises `Unreadable`. A host with GPUs of several models offers the first."""
    found = dict(reversed(lines))
    gpus = [_gpu(rest) for word, rest in lines if word == "gpu"]
    trouble = f"nvidia-smi ended with {found['gpu_trouble']}" if "gpu_trouble" in found else ""
    try:
        cpus, memory_gib = int(found["cpus"]), round(int(found["memory_kib"]) / 2**20, 1)
    except (KeyError, ValueError) as exc:
        raise Unreadable(f"a host that does not say what it has: {lines!r}") from exc
    if not gpus:
        return Shape(cpus, memory_gib, None, 0, 0.0, trouble)
    model, gpu_memory_gib = gpus[0]
    return Shape(cpus, memory_gib, model, [gpu[0] for gpu in gpus].count(model), gpu_memory_gib, trouble)


def _machine(rest: str) -> Machine:
    word, _, line = rest.partition(" ")
    return Machine(read(line), word)


def _gpu(line: str) -> tuple[str, float]:
    """Of nvidia-smi's "NVIDIA H100 80GB HBM3, 81559": MiB behind the comma."""
    name, _, memory = line.rpartition(",")
    try:
        memory_gib = round(float(memory) / 1024, 1)
    except ValueError:
        memory_gib = 0.0  # "[N/A]", as GPUs that share the machine's memory say
    return gpu_names.normalise(name, memory_gib) or name.removeprefix("NVIDIA ").strip().replace(" ", "-"), memory_gib
