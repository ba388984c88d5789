"""The order in which GPUs are tried, and what is told of each; the same for real ones, the CPU, and fakes."""

from collections.abc import Callable

from godwit.agents.checks.active.devices import KINDS, Device, Fleet
from godwit.agents.checks.active.figures import Begun, Seen

RATES = ("matmul", "bandwidth", "host-copy")

ROUNDS = 2
"""How often each chain is computed at least. More is for the longer orders: a preflight has eight GPUs in a minute."""

ERROR_CHARS = 1_500

Tell = Callable[[Begun | Seen], None]


def measure(fleet: Fleet, tell: Tell, clock: Callable[[], float], until: float, burn_until: float) -> None:
    """Try everything once, then go on with the chains until `burn_until`; nothing begins after `until`.

    Times are those of `clock`, in seconds. A GPU that fails with an error is left alone after it.
    """
    broken: set[int] = set()
    rounds = 0
    while rounds < ROUNDS or clock() < burn_until:
        for kind in KINDS:
            _each(fleet, broken, tell, clock, until, "correctness", kind)
        rounds += 1
        if clock() >= until:
            return
    for check in RATES:
        _each(fleet, broken, tell, clock, until, check, "")
    if len(fleet.devices) > 1 and not broken and clock() < until:
        _together(fleet, tell)


def _each(
    fleet: Fleet, broken: set[int], tell: Tell, clock: Callable[[], float], until: float, check: str, kind: str
) -> None:
    for device in fleet.devices:
        if device.index in broken or clock() >= until:
            continue
        tell(Begun(check, device.index))
        seen = _one(device, check, kind)
        if seen.error:
            broken.add(device.index)
        tell(seen)


def _one(device: Device, check: str, kind: str) -> Seen:
    try:
        if check == "correctness":
            return Seen(check, device.index, kind, digest=device.digest(kind))
        return Seen(check, device.index, kind, figure=device.rate(check))
    except RuntimeError as exc:  # PyTorch's way to say what CUDA said
        return Seen(check, device.index, kind, error=f"{exc}"[:ERROR_CHARS] or type(exc).__name__)


def _together(fleet: Fleet, tell: Tell) -> None:
    tell(Begun("all-reduce", None))
    try:
        figure, wrong = fleet.all_reduce()
    except RuntimeError as exc:
        tell(Seen("all-reduce", None, error=f"{exc}"[-ERROR_CHARS:]))
    else:
        tell(Seen("all-reduce", None, figure=figure, error=wrong))
