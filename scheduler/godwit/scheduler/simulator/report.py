"""The report of simulations that belong together: an HTML page that needs nothing else, and the same as JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from godwit.scheduler.simulator import charts, series
from godwit.scheduler.simulator.outcomes import Outcome, Summary, summary

POINTS = 400
ROWS_MAX, BARS_MAX = 64, 1500
"""Nodes and bars of a Gantt chart; more of either cannot be told apart on a screen."""

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#111827;max-width:1040px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}svg{width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:#4b5563}table{border-collapse:collapse;width:100%}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid #e5e7eb;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}.legend span{margin-right:1.1rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.35em}
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation: a policy on a fleet, said in words."""

    fleet: str
    outcome: Outcome

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.outcome.policy


def document(scenarios: Sequence[Scenario], trace: str) -> dict[str, Any]:
    """Everything that the report shows, as plain values for JSON."""
    return {"trace": trace, "scenarios": [_values(scenario) for scenario in scenarios]}


def html(scenarios: Sequence[Scenario], trace: str) -> str:
    """The page."""
    summaries = [summary(scenario.outcome) for scenario in scenarios]
    fleets = dict.fromkeys(scenario.fleet for scenario in scenarios)
    parts = [
        f"<h1>Simulation of {escape(trace)}</h1>",
        f"<p>{summaries[0].jobs:,} jobs on {escape('; '.join(fleets))}.{_left_out(summaries)}</p>",
        _table(summaries),
        "<h2>Utilization</h2><p>Share of all GPUs that are busy.</p>",
        charts.lines([_line(scenario) for scenario in scenarios]),
        "<h2>Waits by size</h2><p>Mean hours that jobs waited over all attempts, by GPUs of the whole job.</p>",
        _waits(scenarios),
    ]
    for scenario in scenarios:
        parts.append(f"<h2>Nodes: {escape(scenario.name)}</h2>{_gantt(scenario.outcome)}")
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>Simulation of {escape(trace)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _values(scenario: Scenario) -> dict[str, Any]:
    edges, busy = series.utilization(scenario.outcome, POINTS)
    return {
        "name": scenario.name,
        "fleet": scenario.fleet,
        "summary": asdict(summary(scenario.outcome)),
        "waits": [asdict(each) for each in series.waits(scenario.outcome.courses)],
        "utilization": {"edges_s": edges.round(1).tolist(), "busy": busy.round(4).tolist()},
    }


def _left_out(summaries: Sequence[Summary]) -> str:
    most = max(one.left_out for one in summaries)
    return f" {most:,} more were left out: no part of the fleet can hold them." if most else ""


def _table(summaries: Sequence[Summary]) -> str:
    titles = (
        "policy", "JCT mean", "JCT p99", "wait mean", "makespan", "utilization", "fragmentation", "stops", "lost",
        "dollars", "per GPU-hour",
    )  # fmt: skip
    rows = [
        (
            one.policy, _hours(one.jct_mean_s), _hours(one.jct_p99_s), _hours(one.wait_mean_s),
            f"{one.makespan_s / 86_400:,.1f} d", _percent(one.utilization), _percent(one.fragmentation),
            f"{one.stops:,}", _percent(one.lost_share), f"{one.usd:,.0f}", f"{one.usd_per_useful_gpu_hour:,.2f}",
        )
        for one in summaries
    ]  # fmt: skip
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _line(scenario: Scenario) -> charts.Line:
    edges, busy = series.utilization(scenario.outcome, POINTS)
    return scenario.name, edges.tolist(), busy.tolist()


def _waits(scenarios: Sequence[Scenario]) -> str:
    found = [(scenario.name, _by_size(scenario.outcome)) for scenario in scenarios]
    sizes = [name for _, name in series.SIZES if any(name in by_size for _, by_size in found)]
    values = [(name, [by_size.get(size, 0.0) for size in sizes]) for name, by_size in found]
    return charts.columns(sizes, values, "h")


def _by_size(outcome: Outcome) -> Mapping[str, float]:
    return {each.size: each.mean_s / 3600 for each in series.waits(outcome.courses)}


def _gantt(outcome: Outcome) -> str:
    nodes = len(outcome.node_ids)
    found = series.bars(outcome, ROWS_MAX, BARS_MAX)
    note = f"<p>The first {ROWS_MAX} of {nodes} nodes, and the {BARS_MAX:,} longest stints on them.</p>"
    is_cut = nodes > ROWS_MAX or len(found) == BARS_MAX
    chart = charts.gantt(found, outcome.node_ids[:ROWS_MAX], outcome.node_gpus, outcome.start_s, outcome.end_s)
    return (note if is_cut else "") + chart


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} h"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
