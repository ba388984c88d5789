"""Job overhead: from `godwit run` to the job's first line on a ready node, against Ray alone from `ray start` on.

The two take turns, since a machine's speed changes within minutes. Beside it stands Ray that is warm already: there
the head's start is not counted, which godwit cannot avoid while each attempt has a Ray cluster of its own.
"""

import time
from collections.abc import Iterator
from statistics import median

from benchmarks import first_lines, homes, plain_ray
from benchmarks.figures import Figure, at_most

ROUNDS, ROUNDS_MIN = 5, 3
ENOUGH_S = 180.0
"""After this no further round is begun once there are `ROUNDS_MIN`; on a quiet machine five take half of it."""

RUN_S = 120.0
"""Bound of one `godwit run`; it takes some 10 s at most."""

RATIO_GOAL = 1.5


def measure() -> Iterator[Figure]:
    """Seconds and ratios to the first line: godwit, cold Ray, warm Ray."""
    with homes.serving() as home:
        _with_godwit(home, "warm-up", ready=False)
        rounds, until = list[tuple[float, float, float]](), time.monotonic() + ENOUGH_S
        while len(rounds) < ROUNDS_MIN or (len(rounds) < ROUNDS and time.monotonic() < until):
            ours_s = _with_godwit(home, f"first-line-{len(rounds)}", ready=True)
            rounds.append((ours_s, *_with_ray(len(rounds))))
    ours, cold, warm = zip(*rounds, strict=True)
    ratios = sorted(ours_s / cold_s for ours_s, cold_s, _ in rounds)
    spread = f"median of {len(rounds)}, {min(ours):.2f} to {max(ours):.2f}"
    yield Figure("first line: godwit run, node ready", median(ours), "s", note=spread)
    yield Figure("first line: ray start + ray job submit", median(cold), "s", note="baseline, taken in turns")
    yield Figure("first line: ray job submit, head warm", median(warm), "s", note="baseline, the same heads")
    each = "round by round: " + ", ".join(f"{ratio:.2f}" for ratio in ratios)
    yield Figure("first line: godwit / cold Ray", median(ours) / median(cold), "ratio", at_most(RATIO_GOAL), each)
    yield Figure("first line: godwit / warm Ray", median(ours) / median(warm), "ratio", note="to become the goal")


def _with_godwit(home: homes.Home, line: str, *, ready: bool) -> float:
    argv = [str(homes.BIN / "godwit"), "run", "-y", "--gpus", "H100:1", "--infra", "sim-aurora", "--", "echo", line]
    seen = first_lines.watch(argv, line, home.environment, RUN_S)
    if ready and "buy-node" in seen.output:
        raise RuntimeError(f"the node was not ready, one was bought, so this is no figure:\n{seen.output}")
    return seen.after_s


def _with_ray(number: int) -> tuple[float, float]:
    with plain_ray.head() as head:
        started_s = time.monotonic() - head.began
        cold_s = started_s + head.submit(f"cold-{number}").after_s
        return cold_s, head.submit(f"warm-{number}").after_s
