"""Reads NVML in a process of its own: `python -I -m godwit.agents.checks.gpu.poller [FOLDER OF A SIMULATED NODE]`.

A sick driver blocks calls for minutes. This process may hang in one; the agent then goes on without it. It answers
each line on its standard input with one line of JSON, and ends with its input. It imports nothing heavy.
"""

import json
import sys
from contextlib import suppress
from itertools import combinations, count
from pathlib import Path
from typing import Any

from godwit.agents.checks.gpu import use
from godwit.agents.checks.gpu.catalogue import CHECKS
from godwit.agents.checks.gpu.reading import NOT_APPLICABLE, Probe

LOAD = "load"
"""The line that asks for loads only; any other asks for a poll."""

PEERS_EVERY = 20
_NVLINK_PEERS = 2
"""NVML_P2P_CAPS_INDEX_NVLINK."""

_VERSIONS = ("nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion_v2")
_OF_BOARD = {
    "vbios": "nvmlDeviceGetVbiosVersion",
    "gsp": "nvmlDeviceGetGspFirmwareVersion",
    "serial": "nvmlDeviceGetSerial",
    "model_name": "nvmlDeviceGetName",
}


class Reader:
    """Reads all GPUs of one NVML-like object, which is opened on the first poll that succeeds in it."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._open = False
        self._polls = count()

    def poll(self) -> dict[str, Any]:
        """One poll, as the agent reads it: `error` where the driver as a whole does not answer."""
        number = next(self._polls)
        try:
            total = self._count()
        except self._nvml.NVMLError as exc:
            self._close()
            return {"error": exc.value, "gpus": []}
        gpus = [self._gpu(index, number) for index in range(total)]
        answer: dict[str, Any] = {"gpus": gpus, "versions": self._versions()}
        if number % PEERS_EVERY == 0:
            answer["strangers"] = self._strangers(total)
        return answer

    def load(self) -> dict[str, Any]:
        """How hard each GPU works, and nothing else; what does not answer is left out, for polls to judge."""
        found = []
        try:
            for index in range(self._count()):
                probe = Probe(self._nvml, self._nvml.nvmlDeviceGetHandleByIndex(index))
                use.read_load(probe)
                found.append({"index": index, "values": probe.values})
        except self._nvml.NVMLError:
            self._close()
        return {"gpus": found}

    def _count(self) -> int:
        if not self._open:
            self._nvml.nvmlInit()
            self._open = True
        return int(self._nvml.nvmlDeviceGetCount())

    def _close(self) -> None:
        """Begin anew at the next poll: the driver may have been loaded again meanwhile."""
        if self._open:
            self._open = False
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _gpu(self, index: int, number: int) -> dict[str, Any]:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
        except self._nvml.NVMLError as exc:
            return {"index": index, "uuid": "", "pci": "", "values": {}, "errors": {"handle": exc.value}}
        probe = Probe(self._nvml, handle)
        probe.take("uuid", "nvmlDeviceGetUUID", of=str)
        probe.take("pci", "nvmlDeviceGetPciInfo", of=lambda info: _text(info.busId))
        uuid, pci = probe.values.pop("uuid", ""), probe.values.pop("pci", "")
        for name, function in _OF_BOARD.items():
            probe.take(name, function, of=_text)
        for check in CHECKS:
            if number % check.every == 0:
                check.read(probe)
        use.read(probe)
        return {"index": index, "uuid": uuid, "pci": pci, "values": probe.values, "errors": probe.errors}

    def _versions(self) -> dict[str, str]:
        found = {}
        for function in _VERSIONS:
            try:
                found[function] = _text(getattr(self._nvml, function)())
            except (AttributeError, self._nvml.NVMLError):
                continue  # nothing depends on a version that is not told
        return found

    def _strangers(self, total: int) -> list[tuple[int, int]]:
        """Pairs of GPUs with NVLinks that cannot reach each other over them."""
        found = []
        for one, other in combinations(range(total), 2):
            try:
                handles = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in (one, other)]
                if not self._nvml.nvmlDeviceGetNvLinkState(handles[0], 0):
                    continue
                if self._nvml.nvmlDeviceGetP2PStatus(*handles, _NVLINK_PEERS):
                    found.append((one, other))
            except (AttributeError, self._nvml.NVMLError) as exc:
                if getattr(exc, "value", 3) in NOT_APPLICABLE:
                    return []  # no links between them
        return found


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def binding(folder: str | None) -> Any:
    """NVML, or that of a simulated node."""
    if folder is not None:
        from godwit.agents.accelerators.fake_nvml import FakeNvml  # noqa: PLC0415 - only where it is wanted

        return FakeNvml(Path(folder))
    import pynvml  # noqa: PLC0415 - a simulated node never needs it

    return pynvml


def main() -> None:
    """Answer each line until there is no more."""
    reader = Reader(binding(sys.argv[1] if len(sys.argv) > 1 else None))
    for line in sys.stdin:
        answer = reader.load() if line.strip() == LOAD else reader.poll()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
