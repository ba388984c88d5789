"""Job overhead: from `godwit run` to the job's first line on a ready node, with a Ray that stands by there and without.

The baseline is Ray alone, as somebody without godwit uses it: from `ray start` on, and on a head that is warm already.
All take turns, since a machine's speed changes within minutes.
"""

import time
from collections.abc import Iterator
from statistics import median

from benchmarks import first_lines, homes, plain_ray, standing_by
from benchmarks.figures import Figure, at_most

ROUNDS, ROUNDS_MIN = 5, 3
ENOUGH_S = 300.0
"""After this no further round is begun once there are `ROUNDS_MIN`; on a quiet machine five take half of it."""

RUN_S = 120.0
"""Bound of one `godwit run`; it takes some 10 s at most."""

RATIO_GOAL = 1.5

Round = tuple[float, float, float, float]
"""Seconds: godwit with a Ray that stands by, godwit without, Ray cold, Ray warm."""


def measure() -> Iterator[Figure]:
    """Seconds and ratios to the first line."""
    with homes.serving(GODWIT_WARM_RAY="true") as ready, homes.serving() as bare:
        for home in (ready, bare):
            _with_godwit(home, "warm-up", ready=False)
        rounds, until = list[Round](), time.monotonic() + ENOUGH_S
        while len(rounds) < ROUNDS_MIN or (len(rounds) < ROUNDS and time.monotonic() < until):
            rounds.append(_round(ready, bare, len(rounds)))
    yield from _figures(rounds)


def _round(ready: homes.Home, bare: homes.Home, number: int) -> Round:
    standing_by.wait(ready)
    standby_s = _with_godwit(ready, f"standby-{number}", ready=True)
    standing_by.wait(ready)  # the next one would take the others' time while it starts
    return standby_s, _with_godwit(bare, f"own-{number}", ready=True), *_with_ray(number)


def _figures(rounds: list[Round]) -> Iterator[Figure]:
    standby, own, cold, warm = zip(*rounds, strict=True)
    spread = f"median of {len(rounds)}, {min(standby):.2f} to {max(standby):.2f}"
    yield Figure("first line: godwit run, a Ray stands by", median(standby), "s", note=spread)
    yield Figure("first line: godwit run, a Ray of its own", median(own), "s", note="as on simulated nodes")
    yield Figure("first line: ray start + ray job submit", median(cold), "s", note="baseline, taken in turns")
    yield Figure("first line: ray job submit, head warm", median(warm), "s", note="baseline, the same heads")
    yield _ratio("first line: godwit / warm Ray", standby, warm)
    yield _ratio("first line: own Ray / cold Ray", own, cold)
    saved = median(a - b for a, b in zip(own, standby, strict=True))
    yield Figure("first line: saved by standing by", saved, "s", note="of each start, and of each restart on a spare")


def _ratio(name: str, ours: tuple[float, ...], theirs: tuple[float, ...]) -> Figure:
    each = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    note = "round by round: " + ", ".join(f"{ratio:.2f}" for ratio in each)
    return Figure(name, median(ours) / median(theirs), "ratio", at_most(RATIO_GOAL), note)


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
