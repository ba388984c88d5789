"""The child: tries the GPUs that its one argument names, and says what it saw on standard output.

    python -m godwit.agents.checks.active '{"device": "cuda", "gpus": [{"index": 0, "model": "H100-SXM"}], ...}'

`device` is "cuda", "cpu" or "fake". It ends by itself at its budget, should nobody be left to end it.
"""

import importlib.util
import json
import os
import signal
import sys
import time
from typing import Any

from godwit.agents.checks.active import figures, measuring
from godwit.agents.checks.active.devices import FakeDevice, FakeFleet, Fleet

SELF_END_S = 5
"""How long after its budget the child ends itself: its parent does so first, as long as there is one."""


def main() -> int:
    """Measure, and say so line by line, so that nothing is lost when the budget ends it."""
    order = json.loads(sys.argv[1])
    signal.alarm(int(order["budget_s"]) + SELF_END_S)
    if order.get("nice"):
        os.nice(int(order["nice"]))
    found = _fleet(order)
    if isinstance(found, str):
        _say(figures.absent(found))
        return 0
    start = time.monotonic()
    until, burn_until = start + order["measure_s"], start + order["burn_s"]
    measuring.measure(found, lambda said: _say(figures.line(said)), time.monotonic, until, burn_until)
    _say(figures.DONE)
    return 0


def _fleet(order: dict[str, Any]) -> Fleet | str:
    """The GPUs to try, or why there are none."""
    gpus = order["gpus"]
    if order["device"] == "fake":
        return FakeFleet(tuple(FakeDevice(g["index"], g["model"], frozenset(g.get("faults", ()))) for g in gpus))
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed"
    from godwit.agents.checks.active import on_torch  # noqa: PLC0415 - takes seconds, and is not always there

    is_cuda = order["device"] == "cuda"
    shown = on_torch.cuda_devices()
    if is_cuda and shown < len(gpus):
        return f"PyTorch sees {shown} of {len(gpus)} GPUs: it was built for another CUDA, or the driver is not up"
    return on_torch.TorchFleet([gpu["index"] for gpu in gpus], is_cuda=is_cuda)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
