"""What is found of jobs, as the documentation shows it."""

from godwit.agents.checks.rules import Described, Rule
from godwit.agents.checks.work import losses, steps, watch
from godwit.domain import pace
from godwit.domain.health import Grade, Remedy

_SOUND = f"{losses.CALM} sound ones"

CHECKS: tuple[Described, ...] = (
    Described(
        "hang",
        "steps that the program reports, or its output shows; Python stacks of all its processes, by py-spy",
        (
            Rule(
                "hang",
                f"no step for {steps.FACTOR:g} times the usual, at least {steps.FLOOR_S:g} s (or the job's "
                f"`hang_after`), and the same stacks {watch.STILL_SAMPLES} times, {watch.STILL_S:g} s apart",
                Grade.UNHEALTHY,
                Remedy.RESTART_JOB,
                "NVIDIA/nvidia-resiliency-ext; ByteRobust, arXiv 2509.16293",
                over="next step",
            ),
        ),
    ),
    Described(
        "silence",
        "the same",
        (
            Rule(
                "silence",
                f"no step for so long {watch.PATIENCE} times over, but its processes are busy",
                Grade.DEGRADED,
                Remedy.NONE,
                "evaluation and uploads look like this too",
                over="next step",
            ),
        ),
    ),
    Described(
        "straggler",
        "`compute_s` that each rank of the gang reports; the head asks the nodes, each tells of its own ranks",
        (
            Rule(
                "straggler:RANK",
                f"{pace.LAG:.0%} slower than the median of the others in {pace.WINDOWS} windows in a row",
                Grade.DEGRADED,
                Remedy.NONE,
                "MegaScale, NSDI'24",
                over="keeps up in a window",
            ),
        ),
    ),
    Described(
        "loss",
        "`loss` and `grad_norm` that the program reports, or its output shows",
        (
            Rule("loss:nan", "no finite number", Grade.DEGRADED, Remedy.NONE, "ByteRobust", over=_SOUND),
            Rule(
                "loss:nan",
                f"{losses.STAYS} losses in a row are no finite number",
                Grade.UNHEALTHY,
                Remedy.RESTART_JOB,
                "IEEE 754: no sum or product with a NaN is a number",
                over=_SOUND,
            ),
            Rule(
                "loss:jump",
                f"more than {losses.JUMP:g} times the median of the last {losses.WINDOW}",
                Grade.DEGRADED,
                Remedy.NONE,
                "ByteRobust",
                over=_SOUND,
            ),
        ),
    ),
    Described(
        "crash",
        "the last lines of a program that failed",
        (
            Rule(
                "cuda:*, nccl:*, cublas, cudnn",
                "an error of CUDA or NCCL other than a full memory",
                Grade.DEGRADED,
                Remedy.NONE,
                "CUDA runtime API; PyTorch's ProcessGroupNCCL; attribution as Meta RSC, arXiv 2410.21680",
                clears="event",
            ),
        ),
    ),
)
