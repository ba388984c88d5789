"""The active checks as the documentation shows them."""

from functools import partial

from godwit.agents.checks.active import floors, judging
from godwit.agents.checks.rules import Described, Rule
from godwit.domain.health import Grade, Remedy

_Rule = partial(Rule, over="next test passed")
_PEERS = "stas00/ml-engineering: 90 % of the fleet's median"
_SLOW = (
    f"slower than {judging.SLOWER:.0%} of the median of the node's GPUs and by {judging.MAD_FACTOR:g} median deviations"
)
_MUCH_SLOWER = f"slower than {judging.MUCH_SLOWER:.0%} of that median, or without peers than the floor of its model"


def _rate(name: str, reads: str, floor: str) -> Described:
    share = floors.SHARE[name]
    return Described(
        name,
        reads,
        (
            _Rule(f"{name}:slow", _SLOW, Grade.DEGRADED, Remedy.NONE, _PEERS),
            _Rule(
                f"{name}:slow", f"{_MUCH_SLOWER} ({share:.0%} of what is usual)", Grade.UNHEALTHY, Remedy.NONE, floor
            ),
            _Rule(f"{name}:error", "ends in an error of CUDA", Grade.UNHEALTHY, Remedy.NONE, "CUDA runtime API"),
            _Rule(
                f"{name}:timeout", "does not end within the budget", Grade.UNHEALTHY, Remedy.NONE, "a driver that hangs"
            ),
        ),
    )


CHECKS: tuple[Described, ...] = (
    Described(
        "correctness",
        "chains of matrix products from a fixed seed, in bf16 and fp32",
        (
            _Rule(
                "correctness:bf16, correctness:fp32",
                "its bits differ from one time to the next, or from those of most GPUs of the node",
                Grade.UNHEALTHY,
                Remedy.REPLACE_NODE,
                "imbue-ai/cluster-health (burn-in); ByteRobust, arXiv 2509.16293",
            ),
            _Rule(
                "correctness:bf16, correctness:fp32",
                "GPUs of the node disagree and none is in the majority",
                Grade.UNHEALTHY,
                Remedy.NONE,
                "the same",
            ),
        ),
    ),
    _rate("matmul", "dense bf16 products, TFLOPS", "stas00/ml-engineering, best found"),
    _rate("bandwidth", "copies within the GPU's memory, GB/s", "NVIDIA DCGM diagnostic"),
    _rate("host-copy", "copies between pinned host memory and the GPU, the slower way, GB/s", "azurehpc-health-checks"),
    Described(
        "all-reduce",
        "sums over all GPUs of the node by NCCL, bus bandwidth in GB/s",
        (
            _Rule("all-reduce:wrong", "a sum comes out wrong", Grade.UNHEALTHY, Remedy.NONE, "exact in fp32"),
            _Rule(
                "all-reduce:slow",
                "below 150 before a job, and on return below 400 (A100: 228) for eight GPUs",
                Grade.UNHEALTHY,
                Remedy.NONE,
                "NVIDIA/NVSentinel preflight and re-admission; azurehpc-health-checks",
            ),
        ),
    ),
)
"""What fails without a suggestion is tested again by the policy, strictly, before anything is done. In a preflight the
check is called "preflight", with the same codes."""
