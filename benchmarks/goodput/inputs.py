"""The modelled times and rates, each with its source or its reason. Nothing here is fitted to what the policy does."""

from dataclasses import dataclass

DAY_S = 86_400.0
DAYS = 54.0
"""The length of the period that Llama 3's 419 interruptions fell into (Dubey et al., arXiv 2407.21783, table 5)."""

FAILURES_PER_1000_NODE_DAYS = 6.5
"""Of nodes of eight GPUs (Kokolis et al., arXiv 2410.21680)."""

NODE_USD_PER_HOUR = 20.0
"""A choice: what eight H100 are rented for, so that spares have a price."""


@dataclass(frozen=True)
class Times:
    """Seconds that things take, the same for everybody who answers.

    `wire_s`: from a node's notice to the control plane: an urgent heartbeat on a network and one transaction.
    `heartbeat_s`: between two heartbeats of an agent; a failure is believed when all nodes were heard after it.
    `poll_s`: between two readings of NVML and of the host, the agent's default.
    `exit_s`: until a crash is seen as the end of the program: the other ranks' collectives abort.
    `watchdog_s`: after so long in one collective PyTorch ends the program itself (its default for NCCL, 10 min).
    `stop_s`: from the order to stop until no process is left; GPU memory is freed within 50 s (NVRx waits that long
    at most), in seconds as a rule. `grace_s`: what a last save takes on top: one stall and one local commit.
    `place_s`: decision, transaction and commands. `spawn_s`: Ray's processes and the imports of 8 ranks.
    `preflight_s`: the GPUs of a node are tried before a start, where nothing has shown lately that they are fit, as
    godwit does where they are real; its budget is 60 s, and matrix products, copies and an all-reduce within the node
    take a third of it. All wait for the slowest. Whoever does no such thing, or knows everything, waits for none.
    `resubmit_s`: a program that failed by its own fault is submitted again by its owner's own loop.
    `owner_failures`: after so many such failures within a day a person looks, while the loop goes on, and finds by hand
    which machine computes nonsense.
    `nan_exit_s`: a program that computes nonsense notices by itself and ends, after some hundred steps.
    `first_step_s`: compiled kernels and pipelines of data are warm after it.
    `reset_s`: `nvidia-smi --gpu-reset` with its daemons stopped before and a check after. `reboot_s`: a machine with
    eight GPUs boots in five to fifteen minutes. `test_s`: active checks; Aegis' pre-delivery check takes under 10 min.
    `buy_s`: until a machine that was asked for has booted, joined and passed its checks. `person_s`: until a person
    who was called has looked and acted.
    """

    wire_s: float = 0.5
    heartbeat_s: float = 1.0
    poll_s: float = 30.0
    exit_s: float = 5.0
    watchdog_s: float = 600.0
    stop_s: float = 5.0
    grace_s: float = 10.0
    place_s: float = 1.0
    spawn_s: float = 20.0
    preflight_s: float = 20.0
    resubmit_s: float = 10.0
    owner_failures: int = 3
    nan_exit_s: float = 300.0
    first_step_s: float = 15.0
    reset_s: float = 90.0
    reboot_s: float = 600.0
    test_s: float = 600.0
    buy_s: float = 1_200.0
    person_s: float = 1_800.0

    def init_s(self, gpus: int) -> float:
        """Until all communicators stand. MegaScale (NSDI'24, section 3.5): under 5 s on 2,048 GPUs, under 30 s on more
        than 10,000; a straight line between, and no more for 16,384."""
        return min(30.0, max(5.0, 5.0 + 25.0 * (gpus - 2_048) / (10_000 - 2_048)))


@dataclass(frozen=True)
class Saving:
    """What checkpoints take, in seconds.

    `stall_s`: the program stands still while each node copies its part to memory: 405e9 parameters of 14 bytes (bf16
    weights, fp32 master copy and two moments) over 2,048 nodes are 2.8 GB a node, 0.1 s at the 48 GB/s of a host copy
    (Azure's floor for H100); a second with the meeting of all ranks. `commit_s`: until this is checked and lies on disk
    and with a peer: 2.8 GB at 0.15 GB/s, a tenth of one NVMe disk, since training reads data meanwhile.
    `load_s`: from the nearest good copy, with its checksums: 2.8 GB at 0.2 GB/s.
    `damaged_share`: of restores that find the newest checkpoint damaged; a choice, far above what stores lose.
    """

    stall_s: float = 1.0
    commit_s: float = 20.0
    load_s: float = 15.0
    damaged_share: float = 0.02


@dataclass(frozen=True)
class Trouble:
    """What happens beside the failures that are counted, as rates; shares are of the fleet's nodes.

    `lemon_share`, `lemon_failures_share`: 1.2 % of nodes touched 13 % of jobs (arXiv 2410.21680, section on lemons).
    `straggler_share`: about 0.5 % of machines are about 10 % slow (MegaScale); they become so during the run.
    `false_alarms_per_1000_node_days`: findings without any effect: one hot sample, a corrected error, a link that
    blinked; a choice: half as many as real failures. `benign_share`: of these, real but harmless until the next reset
    (a row marked for remapping). `twins_share`: of failures, followed by another one within a minute, so that it falls
    into the restart; a choice. `bursts`: in the run, each of which takes `burst_share` of one fabric domain at once
    (a switch, a driver roll-out) for `burst_s`. `stubborn_bugs`: in the run: a program's own fault that raises an Xid
    again after each of the next `bug_repeats` restarts, wherever it runs. `sold_again_share`: of machines bought in
    place of one that was given back, the share that is the very same machine, not repaired; a choice.
    """

    lemon_share: float = 0.012
    lemon_failures_share: float = 0.13
    straggler_share: float = 0.005
    straggler_rate: float = 0.9
    false_alarms_per_1000_node_days: float = 3.25
    benign_share: float = 0.3
    twins_share: float = 0.05
    bursts: int = 2
    burst_share: float = 0.3
    burst_s: float = 600.0
    stubborn_bugs: int = 1
    bug_repeats: int = 3
    sold_again_share: float = 0.1


@dataclass(frozen=True)
class Watching:
    """What is seen of a job from outside, where no line says it.

    `hang_s`: no step for so long is a hang. `odd_share`: how often the stacks of all ranks name the right node
    (ByteRobust's over-eviction exists because they do not always). `slow_window_s`: one window of step times, over
    which a rank is compared with its peers (Minder asks for 4 min of continuity). `nan_after_s`: mean time from silent
    corruption to a loss that shows it. `step_s`: from one loss to the next: Llama 3's steps of 16M tokens of 6 x 405e9
    operations each, on 16,384 GPUs at 400 TFLOP/s (arXiv 2407.21783, table 4).
    """

    hang_s: float = 60.0
    odd_share: float = 0.8
    slow_window_s: float = 240.0
    nan_after_s: float = 600.0
    step_s: float = 6.0
