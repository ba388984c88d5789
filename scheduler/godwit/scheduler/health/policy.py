"""Every threshold of the health policy: its name, its default, what it says, and where it comes from."""

from dataclasses import dataclass, field
from typing import Any

MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0


def _setting(default: Any, says: str, source: str) -> Any:
    """A field with its meaning and its source, which `page` shows."""
    return field(default=default, metadata={"says": says, "source": source})


@dataclass(frozen=True)
class HealthPolicy:
    """What an operator may set under `health:` in config.yaml. Shares are of 1, times in seconds.

    What each says and why it is as it is stands beside it, and in docs/health-policy.md.
    """

    acts: bool = _setting(True, "whether anything is done; when not, incidents are held for a person", "NVSentinel")
    combine_s: float = _setting(
        3 * MINUTE_S, "two findings of one GPU so near each other belong together", "NVSentinel's gap between bursts"
    )
    attribution_s: float = _setting(
        10 * MINUTE_S, "a program that fails so soon after a sign of broken hardware failed because of it",
        "Meta RSC (arXiv 2410.21680): 10 min before to 5 min after",
    )  # fmt: skip
    repeats: int = _setting(
        2, "an application fault on the same part of a GPU in so many different jobs makes it suspect", "NVSentinel"
    )
    repeats_s: float = _setting(DAY_S, "within this time", "NVSentinel")
    bursts: int = _setting(5, "the same fault of one GPU in so many bursts goes to the vendor", "NVSentinel")
    burst_gap_s: float = _setting(3 * MINUTE_S, "a pause of this length ends a burst", "NVSentinel")
    rung_s: float = _setting(
        DAY_S, "each rung of the ladder is tried once in this time", "gpud, NVSentinel: once or twice per window"
    )
    again_s: float = _setting(
        7 * DAY_S, "a device that was repaired and fails again in this time is replaced",
        "NVSentinel, gpud: 7 to 30 days; the shorter evicts less",
    )  # fmt: skip
    drain_s: float = _setting(
        DAY_S, "how long present work may go on where the remedy is safe to wait for",
        "Meta RSC waits for the job's end; a day is the end of most",
    )  # fmt: skip
    pending_s: float = _setting(
        28 * DAY_S, "and where it only waits for a reset and is safe meanwhile, such as a memory row to be remapped",
        "NVIDIA: at the next convenient time; who trains for longer loses one restart",
    )  # fmt: skip
    swap_s: float = _setting(
        HOUR_S, "a straggler is swapped at the next checkpoint, and after this without one", "two usual intervals"
    )
    gang_test_nodes: int = _setting(
        256, "a job on so many nodes is tested as soon as its loss stays no number; a smaller one starts again first",
        "Llama 3 (arXiv 2407.21783, table 5) saw 6 silent corruptions in 54 days on 2,048 nodes: one in ten weeks on "
        "256; in fewer, data or code is the likelier cause, and a restart tells",
    )  # fmt: skip
    correlated_nodes: int = _setting(
        3, "the same fault on so many nodes of one fabric domain or provider has one cause outside of them",
        "two meet by chance in a large fleet",
    )  # fmt: skip
    correlated_s: float = _setting(3 * MINUTE_S, "within this time", "the gap between bursts again")
    hold_s: float = _setting(
        30 * MINUTE_S, "how long those that follow in such a burst are held before they are handled one by one",
        "a switch that restarts is back by then; meanwhile nothing starts there, and what is idle is tested",
    )  # fmt: skip
    unsettled_s: float = _setting(
        5 * MINUTE_S, "nothing starts for so long on a node that said that a link of it is down, and not that it is up",
        "gpud calls a port down after 4 min; another for its reading",
    )  # fmt: skip
    breaker_share: float = _setting(
        0.2, "automation takes out no more than this share of the fleet, a provider, a fabric domain; one node always",
        "EKS and Karpenter; without the one nobody would ever help a fleet of four",
    )  # fmt: skip
    breaker_window_s: float = _setting(5 * MINUTE_S, "within this time", "NVSentinel")
    breaker_most: float = _setting(0.5, "and no more than this share of each is out at any time", "NVSentinel")
    lemon_faults: int = _setting(
        4, "a device, or its node, with so many incidents is retired", "Meta RSC: lemons failed 3 to 5 times"
    )
    lemon_codes: int = _setting(3, "or with so many different faults before", "Meta RSC: distinct Xids are a signal")
    lemon_s: float = _setting(28 * DAY_S, "within this time", "Meta RSC")
    spares: int | None = _setting(
        0, "nodes kept idle for each place where gangs run; `auto`: as many as pay",
        "none by default: the embedded home is its owner's desk, and elsewhere they cost money",
    )  # fmt: skip
    spare_coverage: float = _setting(
        0.999, "how often they suffice at most", "Delta (arXiv 2503.11901) plans for 99.9 %, ByteRobust for 99 %"
    )
    spare_away_s: float = _setting(
        HOUR_S, "how long a node that left is missing", "a boot, its tests, and another machine if they fail"
    )
    sweep_idle_s: float = _setting(5 * MINUTE_S, "a node is idle for so long before it is tested", "as it is released")
    sweep_every_s: float | None = _setting(
        None, "how often an idle node is tested in the background; `off`: never",
        "off by default, as spares are; nightly on rented fleets (Meta RSC, NVSentinel)",
    )  # fmt: skip
