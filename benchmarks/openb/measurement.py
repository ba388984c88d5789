"""How much of a fleet can be given out before odd pieces are all that is left: replays of the openb lists.

1,213 nodes with 6,212 GPUs, ten seeds; each list is shuffled and topped up to 130% of the GPUs by drawing from it. Pods
arrive one by one at the real engine, none leaves, one that does not fit is dropped. Printed are the GPUs allocated, in
percent of all, when 95, 100 and 130% have been requested. *Learned* knows only the pods that came so far, as in
production, and is held to the goals; *told* knows from the start how often each pod comes in the list, as the published
method does. Baselines in the same run: best fit, first fit, random; beside them the published figures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from statistics import mean, median

from godwit.scheduler.asks import WHOLE

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.openb import judges, published, trace
from benchmarks.openb.published import AT, FGD
from benchmarks.openb.replay import Curve, Judge, capacity_gpus, replay

SEEDS = range(42, 52)
"""Those of the published run."""

MAY_TAKE_S = 2.5
"""CPU seconds that one replay of the default list may take."""

GOALS = {"default": dict(zip(AT, (94.9, 95.2, 95.4), strict=True))} | {
    name: {100: FGD[name][1]} for name in trace.LISTS if name != "default"
}
"""What the learned placement is held to: what was published of the method it comes from."""

OURS: Mapping[str, Callable[[str], Judge]] = {
    "learned": lambda _: judges.learning(),
    "told": lambda name: judges.told(trace.pods(name)),
}


def measure(lists: Sequence[str] = trace.LISTS, seeds: Sequence[int] = SEEDS) -> Iterator[Figure]:
    """All lists and seeds take some ten minutes on two cores; name one of each for a quick look."""
    with ProcessPoolExecutor(2) as pool:
        for name in lists:
            yield from _figures(name, seeds, pool)


def _figures(name: str, seeds: Sequence[int], pool: Executor) -> Iterator[Figure]:
    ways = (*OURS, *judges.BASELINES)
    runs = [(name, way, seed) for way in ways for seed in seeds]
    curves = dict(zip(runs, pool.map(run, *zip(*runs, strict=True)), strict=True))
    for way in ways:
        goals = GOALS[name] if way == "learned" else {}
        for at in AT:
            value = mean(curves[name, way, seed].at(at) for seed in seeds)
            goal = at_least(goals[at]) if at in goals else None
            note = f"{value:.2f}" + ("" if way in OURS else ", baseline")
            yield Figure(f"openb {name}: {way}, at {at}%", value, "% of GPUs", goal, note)
    for which, table in (("FGD", published.FGD), ("best-fit", published.BEST_FIT)):
        for at, value in zip(AT, table[name], strict=True):
            note = f"{value:.2f}, published, other draws"
            yield Figure(f"openb {name}: {which}, at {at}%", value, "% of GPUs", None, note)
    if name == "default":
        took = median(curves[name, "learned", seed].cpu_s for seed in seeds)
        pods = median(curves[name, "learned", seed].pods for seed in seeds)
        yield Figure(f"openb {name}: one replay", took, "CPU s", at_most(MAY_TAKE_S), f"{pods:,.0f} pods, one core")
        took = median(curves[name, "best-fit", seed].cpu_s for seed in seeds)
        yield Figure(f"openb {name}: one replay, best-fit", took, "CPU s", None, "baseline")


def run(name: str, way: str, seed: int) -> Curve:
    """One replay of a list: `way` is one of `OURS` or of the baselines."""
    judge = OURS[way](name) if way in OURS else judges.always(judges.BASELINES[way])
    empty = trace.cluster()
    return replay(empty, trace.arrivals(trace.pods(name), WHOLE * capacity_gpus(empty), seed), judge)
