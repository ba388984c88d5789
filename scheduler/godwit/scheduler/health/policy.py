"""Every threshold of the health policy, by name, with its default and where that comes from."""

from dataclasses import dataclass

MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0


@dataclass(frozen=True)
class HealthPolicy:
    """What an operator may set under `health:`. Shares are of 1, times in seconds.

    `acts`: whether anything is done; when not, incidents are held for a person (NVSentinel's dry run).
    `combine_s`: two findings of one GPU so near each other belong together (NVSentinel's gap between bursts).
    `attribution_s`: a program that ends so soon after a sign of broken hardware ended because of it (Meta RSC, arXiv
    2410.21680: 10 min before to 5 min after).
    `repeats`, `repeats_s`: an application fault on the same part of a GPU, in so many different jobs within this time,
    is suspected to be the GPU's (NVSentinel: 2 in 24 h).
    `bursts`, `burst_gap_s`: the same fault of one GPU in so many bursts, this far apart, within `repeats_s` goes to the
    vendor (NVSentinel: 5 in 24 h, 3 min).
    `rung_s`: each rung of the ladder is tried once in this time. `again_s`: a device that was repaired and fails once
    more in this time is replaced (NVSentinel and gpud ask within 7 to 30 days; the shorter one evicts less).
    `drain_s`: present work may go on for so long on a GPU that waits for a reset, or on a node that is merely worse
    than it should be. The remedy is safe to wait for, so this is a day, the end of most jobs (Meta RSC waits for it).
    `swap_s`: a straggler is swapped at the next checkpoint, and after this without one (two intervals of half an hour).
    `correlated_nodes`, `correlated_s`: the same finding on so many nodes of one fabric domain or provider within this
    time has one cause outside of them (the burst gap again; three, since two meet by chance in a large fleet).
    `hold_s`: how long those that follow in such a burst are held before they are handled one by one: a switch that
    restarts is back by then (PyTorch's collectives wait as long, 10 min).
    `breaker_share`, `breaker_window_s`, `breaker_most`: automation takes no more than this share of the fleet, of one
    provider or of one fabric domain in this time, and no more than `breaker_most` of each at once, but one node always:
    a fleet of four would never be helped else (20 %: EKS and Karpenter; 50 % and 5 min: NVSentinel).
    `lemon_faults`, `lemon_codes`, `lemon_s`: a device with so many incidents, or with so many different faults, within
    this time is retired (28 days: Meta RSC; its lemons failed 3 to 5 times, and NVSentinel gives up at 5).
    `spares`: nodes that are kept idle for each place where gangs run (see `spares`): a number, or None for as many as
    pay (`auto`). None are kept by default: in the embedded home every node is its owner's desk, and elsewhere money.
    `spare_coverage`, `spare_away_s`: how often they are to suffice (ByteRobust: the 99th percentile), and how long a
    node that left is missing: a boot and its tests, or another machine (half an hour).
    `sweep_idle_s`, `sweep_every_s`: a node idle for so long is tested in the background, this often; None: never (the
    embedded home, whose GPUs are its owner's desk). `gpu-health` asks for nightly tests of idle nodes.
    """

    acts: bool = True
    combine_s: float = 3 * MINUTE_S
    attribution_s: float = 10 * MINUTE_S
    repeats: int = 2
    repeats_s: float = DAY_S
    bursts: int = 5
    burst_gap_s: float = 3 * MINUTE_S
    rung_s: float = DAY_S
    again_s: float = 7 * DAY_S
    drain_s: float = DAY_S
    swap_s: float = HOUR_S
    correlated_nodes: int = 3
    correlated_s: float = 3 * MINUTE_S
    hold_s: float = 10 * MINUTE_S
    breaker_share: float = 0.2
    breaker_window_s: float = 5 * MINUTE_S
    breaker_most: float = 0.5
    lemon_faults: int = 4
    lemon_codes: int = 3
    lemon_s: float = 28 * DAY_S
    spares: int | None = 0
    spare_coverage: float = 0.99
    spare_away_s: float = 30 * MINUTE_S
    sweep_idle_s: float = 5 * MINUTE_S
    sweep_every_s: float | None = None
