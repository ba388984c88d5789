"""Draws a stampede in simulated time: `python -m benchmarks.gateway.drawing > docs/serving.svg`."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.gateway.routers import LeastLoad, Regulated
from benchmarks.gateway.stampede import Scene, World

SCENE = Scene(end_s=110.0)
SEED = 1
WIDTH, PANEL, GAP, LEFT, TOP = 760, 150, 46, 56, 34
INK, FAINT, BLUE, RED, GREEN = "#333", "#ccc", "#1f6fb2", "#c0392b", "#2e8b57"

Points = list[tuple[float, float]]


@dataclass
class Recording:
    """What a run was like each second."""

    good: Points = field(default_factory=list)
    limits: Points = field(default_factory=list)
    in_flight: Points = field(default_factory=list)
    waiting: Points = field(default_factory=list)


def record(*, regulated: bool) -> Recording:
    """Play the scene and look at it each second."""
    world, found = World(SCENE, Random(SEED)), Recording()
    router = Regulated(world, Random(SEED + 100)) if regulated else LeastLoad(world)

    def look() -> None:
        if isinstance(router, Regulated):
            usable = [one for one in router.regulator.replicas.values() if one.usable(world.now)]
            found.limits.append((world.now, sum(one.limit for one in usable)))
            found.in_flight.append((world.now, router.regulator.in_flight))
            found.waiting.append((world.now, len(router.waiting)))
        world.at(world.now + 1.0, look)

    world.at(1.0, look)
    world.run(router)
    for second in range(int(SCENE.end_s)):
        answered = sum(1 for at, _ in world.good if second <= at < second + 1)
        found.good.append((second + 0.5, answered / SCENE.rate))
    return found


def svg() -> str:
    """Two panels: goodput with and without the regulator; the regulator's own figures."""
    ours, plain = record(regulated=True), record(regulated=False)
    parts = [
        *_panel(0, "answered in time, of those who come", 1.5, [("0.95", 0.95)]),
        _line(0, 1.5, plain.good, RED),
        _line(0, 1.5, ours.good, BLUE),
        _label(0, 0, BLUE, "with the regulator"),
        _label(0, 1, RED, "least load"),
        *_panel(1, "requests", 60.0, [("20", 20.0), ("40", 40.0)]),
        _line(1, 60.0, ours.waiting, FAINT),
        _line(1, 60.0, ours.limits, GREEN),
        _line(1, 60.0, ours.in_flight, BLUE),
        _label(1, 0, GREEN, "limit, all replicas"),
        _label(1, 1, BLUE, "in flight"),
        _label(1, 2, "#888", "waiting"),
    ]
    height = TOP + 2 * PANEL + GAP + 40
    seconds = [
        f'<text x="{_x(at):.0f}" y="{height - 18}" text-anchor="middle">{at} s</text>' for at in range(0, 111, 10)
    ]
    size = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *parts, *seconds, "</svg>", ""])


def _x(at: float) -> float:
    return LEFT + at / SCENE.end_s * (WIDTH - LEFT - 20)


def _y(panel: int, part: float) -> float:
    return TOP + panel * (PANEL + GAP) + PANEL * (1.0 - max(0.0, min(1.0, part)))


def _panel(panel: int, title: str, top: float, ticks: Sequence[tuple[str, float]]) -> list[str]:
    base, roof = _y(panel, 0.0), _y(panel, 1.0)
    back_s = SCENE.killed_at_s + SCENE.down_s
    spans: list[tuple[float, float, str, str]] = [
        (SCENE.killed_at_s, back_s, "#fbe3e1", "all dead"),
        (back_s, back_s + SCENE.warm_up_s, "#fdf5e0", "they warm up"),
    ]
    found = [f'<text x="{LEFT}" y="{roof - 8:.0f}" fill="{INK}" font-weight="bold">{title}</text>']
    for since, until, colour, what in spans:
        width = _x(until) - _x(since)
        found.append(f'<rect x="{_x(since):.0f}" y="{roof:.0f}" width="{width:.0f}" height="{PANEL}" fill="{colour}"/>')
        found.append(f'<text x="{_x(since) + 3:.0f}" y="{roof + 12:.0f}" fill="#777">{what}</text>')
    for text, value in [("0", 0.0), *ticks]:
        at = _y(panel, value / top)
        found.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{at:.1f}" y2="{at:.1f}" stroke="{FAINT}"/>')
        found.append(f'<text x="{LEFT - 6}" y="{at + 4:.0f}" text-anchor="end" fill="{INK}">{text}</text>')
    found.append(f'<line x1="{LEFT}" x2="{LEFT}" y1="{roof:.0f}" y2="{base:.0f}" stroke="{INK}"/>')
    return found


def _line(panel: int, top: float, points: Points, colour: str) -> str:
    path = " ".join(f"{_x(at):.1f},{_y(panel, value / top):.1f}" for at, value in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'


def _label(panel: int, place: int, colour: str, text: str) -> str:
    x, y = LEFT + 330 + place * 130, _y(panel, 1.0) - 8
    return f'<text x="{x}" y="{y:.0f}" fill="{colour}">\N{EM DASH} {text}</text>'


def main(write: Callable[[str], object]) -> None:
    """Write the drawing."""
    write(svg())


if __name__ == "__main__":
    main(sys.stdout.write)
