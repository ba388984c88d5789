"""The gateway: its regulator in simulated time, its proxy beside others on this machine."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from godwit.gateway.regulator.earned import EarnedLimit

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.gateway import routers, stampede, throughput
from benchmarks.gateway.gradient import GradientLimit
from benchmarks.gateway.stampede import Router, Scene, World

SEEDS = (1, 2, 3)


def measure() -> Iterator[Figure]:
    """The stampede, then the proxy."""
    yield from _stampedes()
    with tempfile.TemporaryDirectory(prefix="godwit-gateway-") as folder:
        yield from throughput.measure(Path(folder))


def _stampedes() -> Iterator[Figure]:
    warm_up_s = Scene().warm_up_s
    for name, law in (("earned limits", EarnedLimit), ("Gradient2", GradientLimit)):
        found = [stampede.recovery(_played(law, seed)) for seed in SEEDS]
        after_s = max(float("inf") if one.after_s is None else one.after_s for one in found)
        p99 = max(one.after_p99_s / one.steady_p99_s for one in found)
        ours = law is EarnedLimit
        note = f"worst of {len(SEEDS)} seeds; in warm-ups of a replica, until goodput stays at 95 %"
        yield Figure(f"stampede, {name}: back after", after_s / warm_up_s, "x", at_most(2.0) if ours else None, note)
        yield Figure(
            f"stampede, {name}: p99 of admitted", p99, "x", at_most(3.0) if ours else None, "of the steady one"
        )
        cold = max(one.cold_p99_s / one.steady_p99_s for one in found)
        warm = max(one.warm_p99_s / one.steady_p99_s for one in found)
        yield Figure(f"stampede, {name}: worst 5 s, cold", cold, "x", None, "while a request alone takes up to 2 x")
        yield Figure(f"stampede, {name}: worst 5 s, warm", warm, "x", at_most(3.0) if ours else None, "after a warm-up")
        good = min(_steady(law, seed) for seed in SEEDS)
        note = "at 80 % load; requests whose latencies differ as prompts do (log-normal, sigma 1)"
        yield Figure(f"varied requests, {name}: answered", good, "", at_least(0.9) if ours else None, note)
    for kind in (routers.RoundRobin, routers.LeastLoad):
        lost = sum(stampede.recovery(_plain(kind, seed)).after_s is None for seed in SEEDS)
        yield Figure(f"stampede, {kind.__name__}: never back", lost, f"of {len(SEEDS)}", None, "in 110 s")


def _steady(law: type[EarnedLimit], seed: int) -> float:
    """The part of the requests that is answered in time while nothing happens."""
    scene, since_s = Scene(spread=1.0, killed_at_s=60.0, end_s=60.0), 10.0
    world = World(scene, Random(seed))
    world.run(routers.Regulated(world, Random(seed + 100), law=law))
    return sum(at >= since_s for at, _ in world.good) / (scene.rate * (scene.end_s - since_s))


def _played(law: type[EarnedLimit], seed: int) -> World:
    world = World(Scene(), Random(seed))
    world.run(routers.Regulated(world, Random(seed + 100), law=law))
    return world


def _plain(kind: type[routers.RoundRobin], seed: int) -> World:
    world = World(Scene(), Random(seed))
    router: Router = kind(world)
    world.run(router)
    return world
