"""Plots as inline SVG: lines over time, groups of columns, and bars on rows. No script, no font, nothing to fetch."""

from collections.abc import Sequence
from html import escape

from godwit.scheduler.simulator.series import Bar

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 70, 20, 12, 34
COLORS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")
DAY_S = 86_400.0

Line = tuple[str, Sequence[float], Sequence[float]]
"""A name, times in seconds, and values from 0 to 1."""


def lines(found: Sequence[Line], height: int = 240) -> str:
    """Shares of one over time, one step line each, with days below."""
    first = min((times[0] for _, times, _ in found), default=0.0)
    last = max((times[-1] for _, times, _ in found), default=1.0)
    inner = height - TOP - BOTTOM
    parts = [_days(first, last, height)]
    for percent in (0, 25, 50, 75, 100):
        y = TOP + inner * (1 - percent / 100)
        parts.append(_rule(y) + _text(LEFT - 6, y + 4, f"{percent}%", "end"))
    for number, (_, times, values) in enumerate(found):
        points = []
        for at, until, value in zip(times, times[1:], values, strict=False):
            y = TOP + inner * (1 - value)
            points += [f"{_x(at, first, last):.1f},{y:.1f}", f"{_x(until, first, last):.1f},{y:.1f}"]
        color = COLORS[number % len(COLORS)]
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.3" points="{" ".join(points)}"/>')
    return _svg(height, parts) + legend([name for name, _, _ in found])


def columns(groups: Sequence[str], found: Sequence[tuple[str, Sequence[float]]], unit: str, height: int = 240) -> str:
    """For each group one column of each series, from zero; the values are written above."""
    most = max((value for _, values in found for value in values), default=0.0) or 1.0
    inner, room = height - TOP - BOTTOM, (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    wide = 0.8 * room / max(1, len(found))
    parts = [_rule(TOP + inner), _text(LEFT - 6, TOP + 10, f"{most:,.0f} {unit}", "end")]
    for group, name in enumerate(groups):
        left = LEFT + group * room
        parts.append(_text(left + room / 2, height - 12, name, "middle"))
        for number, (_, values) in enumerate(found):
            tall = (inner - 14) * values[group] / most
            x, y = left + 0.1 * room + number * wide, TOP + inner - tall
            color = COLORS[number % len(COLORS)]
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide * 0.9:.1f}" height="{tall:.1f}" fill="{color}"/>')
            if wide > 26:
                parts.append(_text(x + wide * 0.45, y - 3, _short(values[group]), "middle"))
    return _svg(height, parts) + legend([name for name, _ in found])


def gantt(found: Sequence[Bar], names: Sequence[str], node_gpus: Sequence[int], first: float, last: float) -> str:
    """One row per node; a bar is as strong as the share of the node that the job holds, coloured by user."""
    step = 11
    height = TOP + BOTTOM + step * len(names)
    users = sorted({bar.user for bar in found})
    color_of = {user: COLORS[number % len(COLORS)] for number, user in enumerate(users)}
    parts = [_days(first, last, height)]
    parts += [_text(LEFT - 6, TOP + step * row + 9, name[-10:], "end") for row, name in enumerate(names)]
    for bar in found:
        x, until = _x(bar.start_s, first, last), _x(bar.end_s, first, last)
        y, share = TOP + step * bar.row + 1, bar.gpus / max(1, node_gpus[bar.row])
        title = escape(f"{bar.job_id} of {bar.user}: {bar.gpus} GPUs here, {(bar.end_s - bar.start_s) / 3600:.1f} h")
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{max(0.5, until - x):.1f}" height="{step - 2}" '
            f'fill="{color_of[bar.user]}" fill-opacity="{0.15 + 0.85 * share:.2f}"><title>{title}</title></rect>'
        )
    return _svg(height, parts) + legend(users[:12])


def legend(names: Sequence[str]) -> str:
    """Names beside their colours."""
    marks = (
        f'<span><i style="background:{COLORS[number % len(COLORS)]}"></i>{escape(name)}</span>'
        for number, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(marks)}</p>'


def _days(first: float, last: float, height: int) -> str:
    span = max(1.0, last - first)
    unit_s, unit = (DAY_S, "d") if span > 2 * DAY_S else (3600.0, "h")
    every = max(1, round(span / unit_s / 12))
    parts = []
    for number in range(0, int(span / unit_s) + 1, every):
        x = _x(first + number * unit_s, first, last)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - BOTTOM}" stroke="#e5e7eb"/>')
        parts.append(_text(x, height - 12, f"{number}{unit}", "middle"))
    return "".join(parts)


def _x(at: float, first: float, last: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at - first) / max(1.0, last - first)


def _rule(y: float) -> str:
    return f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e5e7eb"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _svg(height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(parts)}</svg>'
