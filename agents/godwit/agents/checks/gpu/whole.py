"""Checks of all GPUs of the node together, and of the driver as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from godwit.agents.checks.gpu.reachable import LOST
from godwit.agents.checks.gpu.reading import VERSION_MISMATCH, Gpu, named, values_of
from godwit.agents.checks.rules import Described, Rule, Sign
from godwit.domain.health import Grade, Remedy

DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND = 9, 12

UNEXPECTED = Rule(
    "gpu-count:unknown", "a GPU is listed that the node did not join with", Grade.DEGRADED, Remedy.NONE,
    "history is kept by UUID",
)  # fmt: skip
HIDDEN = Rule(
    "gpu-count:hidden",
    "/sys lists more NVIDIA GPUs than the driver, in 2 of 2 polls (as it should be in a container that was given some)",
    Grade.DEGRADED, Remedy.NONE,
    "gpud; PCI vendor 0x10de, class 0x0302 or 0x0300", 2, 2,
)  # fmt: skip
SILENT = Rule(
    "driver:silent", "a poll was not answered before its deadline", Grade.UNHEALTHY, Remedy.REBOOT,
    "NVML calls block on a sick driver (gpud, NVSentinel)", clear_after=1,
)  # fmt: skip
DIED = Rule(
    "driver:reader-died", "the process that reads NVML died in 3 polls in a row", Grade.DEGRADED, Remedy.NONE,
    "godwit", 3, 3, clear_after=1,
)  # fmt: skip
NOT_LOADED = Rule(
    "driver:not-loaded", "the driver is not loaded or its library is gone, on a node with GPUs, in 2 of 2 polls",
    Grade.UNHEALTHY, Remedy.REBOOT, "NVML errors 9 and 12", 2, 2,
)  # fmt: skip
MISMATCH = Rule(
    "driver:mismatch", "library and kernel module differ: the driver was upgraded without a reboot",
    Grade.UNHEALTHY, Remedy.REBOOT, "NVML error 18",
)  # fmt: skip
FAILED = Rule(
    "driver:error", "the driver answers with another error, in 2 of 2 polls", Grade.UNHEALTHY, Remedy.REBOOT,
    "NVML", 2, 2,
)  # fmt: skip
DIFFERENT = Rule(
    "versions:differ", "GPUs of one model on one node have different VBIOS or GSP firmware", Grade.DEGRADED,
    Remedy.NONE, "imbue cluster-health",
)  # fmt: skip
STRANGERS = Rule(
    "peer-access:broken", "two GPUs with NVLinks cannot reach each other over them", Grade.UNHEALTHY, Remedy.RESET_GPU,
    "NVML P2P status, in each 20th poll", clear_after=1,
)  # fmt: skip

COUNT = Described(
    "gpu-count", "device count and UUIDs against those that the node joined with; /sys/bus/pci/devices",
    (LOST, UNEXPECTED, HIDDEN),
)  # fmt: skip
DRIVER = Described(
    "driver", "`nvmlInit`, and whether the reading process answers in time",
    (SILENT, DIED, NOT_LOADED, MISMATCH, FAILED),
)  # fmt: skip
VERSIONS = Described("versions", "VBIOS and GSP firmware of each GPU, driver and CUDA versions", (DIFFERENT,))
PEERS = Described("peer-access", "P2P status of all pairs with NVLinks", (STRANGERS,))


@dataclass(frozen=True)
class Poll:
    """One poll of the node. `silent`, `died`: there is no answer. `strangers` None: not looked at this time."""

    gpus: tuple[Gpu, ...] = ()
    error: int = 0
    silent: str = ""
    died: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    strangers: Sequence[Sequence[int]] | None = None

    @property
    def answered(self) -> bool:
        """Whether the driver said anything of its GPUs."""
        return not (self.error or self.silent or self.died)


def judge_driver(poll: Poll, expected: int) -> list[Sign]:
    """What is wrong with the driver as a whole; a node without GPUs needs none."""
    if poll.silent:
        return [Sign(SILENT, poll.silent)]
    if poll.died:
        return [Sign(DIED, poll.died)]
    if not poll.error or not expected:
        return []
    rule = {DRIVER_NOT_LOADED: NOT_LOADED, LIBRARY_NOT_FOUND: NOT_LOADED, VERSION_MISMATCH: MISMATCH}.get(
        poll.error, FAILED
    )
    return [Sign(rule, f"the driver answers {named(poll.error)}", evidence={"error": poll.error})]


def judge_count(poll: Poll, expected: Mapping[str, str], in_sys: int | None) -> list[Sign]:
    """Who is missing of `expected` (UUID -> bus address), and who is too many. `in_sys`: GPUs that the bus shows."""
    seen = {gpu.uuid for gpu in poll.gpus if gpu.uuid}
    nameless = sum(1 for gpu in poll.gpus if not gpu.uuid)
    missing = {uuid: pci for uuid, pci in expected.items() if uuid not in seen}
    signs = [
        Sign(LOST, f"it is not among the {len(poll.gpus)} GPUs that the driver shows", uuid, {"pci": pci})
        for uuid, pci in missing.items()
    ]
    strangers = sorted(seen - set(expected))
    if strangers and not missing:
        signs.append(Sign(UNEXPECTED, f"GPUs that the node did not join with: {', '.join(strangers)}"))
    if in_sys is not None and in_sys > len(poll.gpus) + nameless and not missing:
        signs.append(Sign(HIDDEN, f"the bus shows {in_sys} GPUs, the driver {len(poll.gpus)}"))
    return signs


def judge_versions(poll: Poll) -> list[Sign]:
    """GPUs of the same name should be the same inside."""
    signs = []
    for model in values_of(poll.gpus, "model_name"):
        alike = [gpu for gpu in poll.gpus if str(gpu.values.get("model_name")) == model]
        for part in ("vbios", "gsp"):
            said = values_of(alike, part)
            if len(said) > 1:
                usual = max(said, key=lambda version: len(said[version]))
                odd = {v: uuids for v, uuids in said.items() if v != usual}
                text = "; ".join(f"{', '.join(uuids)}: {version}" for version, uuids in sorted(odd.items()))
                signs.append(Sign(DIFFERENT, f"{part} {usual} on most, but {text}", evidence={part: usual}))
    return signs[:1]


def judge_peers(poll: Poll) -> list[Sign]:
    """A GPU that is a stranger to several others is the culprit; of a single pair the first is named."""
    pairs = poll.strangers or ()
    counts: dict[int, int] = {}
    for pair in pairs:
        for index in pair:
            counts[index] = counts.get(index, 0) + 1
    if not counts:
        return []
    worst = max(counts, key=lambda index: counts[index])
    uuid = next((gpu.uuid for gpu in poll.gpus if gpu.index == worst), None)
    text = ", ".join(f"{one}-{other}" for one, other in pairs)[:200]
    return [Sign(STRANGERS, f"GPUs that cannot reach each other over NVLink: {text}", uuid, {"pairs": text})]
