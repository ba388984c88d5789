"""`godwit simulate`: what would have become of these jobs, under another policy or on another fleet."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from godwit.cli import console, figures, output
from godwit.cli.exits import ExitCode, Failure
from godwit.cli.history import newest

if TYPE_CHECKING:
    from godwit.scheduler.simulator.outcomes import Summary

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("POLICY", whole=False),
    *(output.Column(title, right=True) for title in ("JCT", "P99", "WAIT", "SPAN", "UTIL", "FRAG", "STOPS", "COST")),
)


@app.command()
def simulate(  # noqa: PLR0913, PLR0917 - each option of the command is an argument
    fleet: Annotated[
        list[str],
        typer.Option("--fleet", help="'80 x H100-SXM:8 at $20/h on lambda/us-east', or a YAML file; may be repeated."),
    ],
    trace: Annotated[
        Path | None,
        typer.Argument(
            help="CSV: submit_s,gpus,duration_s,user[,nodes][,priority]. Without it: what the control plane recorded.",
            show_default=False,
        ),
    ] = None,
    history: Annotated[int, typer.Option(min=1, max=100_000, help="So many of the newest jobs on record.")] = 1000,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="Compare this one; may be repeated. See the command's page.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Also on another fleet: 'add 8 x H100-SXM:8; remove lambda; price L4:1 = 0.70'; may be repeated."
        ),
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="YAML of dollars an hour: [provider/]H100-SXM:8: 20.5.")] = None,
    from_day: Annotated[float, typer.Option(min=0, help="Only jobs submitted from this day of the trace on.")] = 0.0,
    to_day: Annotated[float | None, typer.Option(min=0, help="Only jobs submitted before this day.")] = None,
    restart: Annotated[float, typer.Option(min=0, help="Seconds that each start after a stop takes.")] = 60.0,
    checkpoint: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints; 0: always saved.")] = 600.0,
    html: Annotated[Path | None, typer.Option(help="Write the report with its plots here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
) -> None:
    """Run the planner over a trace in virtual time: how long jobs take, how full the fleet is, and what it costs."""
    simulating, report = _simulator()
    pools = simulating.fleet(fleet, prices)
    policies = simulating.checked(policy or ["default", "time-sharing"])
    if trace is None:
        jobs, name = simulating.recorded(newest(console.control_plane(), history)), "recorded jobs"
    else:
        jobs, name = simulating.jobs(trace, from_day, to_day, max(pool.gpus for pool in pools)), trace.name
    question = simulating.Question(jobs, pools, what_if or [], policies, simulating.Stops(restart, checkpoint))
    try:
        groups = question.answer()
    except simulating.InvalidRequest as exc:
        raise Failure(str(exc), ExitCode.USAGE) from exc
    scenarios = [scenario for group in groups for scenario in group]
    for title, group in zip(["", *(what_if or [])], groups, strict=True):
        _show(title, group[0].fleet, [report.summary(scenario.outcome) for scenario in group])
    _write(html, lambda: report.html(scenarios, name))
    _write(json_file, lambda: json.dumps(report.document(scenarios, name), indent=1))


def row(one: "Summary") -> tuple[str, ...]:
    """A scenario as a line of the table."""
    return (
        one.policy.partition(" if ")[0],
        _long(one.jct_mean_s, 2),
        _long(one.jct_p99_s, 1),
        _long(one.wait_mean_s, 2),
        f"{one.makespan_s / 86_400:.1f}d",
        f"{100 * one.utilization:.0f}%",
        f"{100 * one.fragmentation:.1f}%",
        f"{one.stops:,}",
        f"${one.usd:,.0f}" if one.usd else "-",
    )


def _long(seconds: float, digits: int) -> str:
    return f"{seconds / 3600:.{digits}f}h" if seconds >= 3600 else figures.duration(seconds)


def _show(what_if: str, fleet: str, summaries: Sequence["Summary"]) -> None:
    first = summaries[0]
    print(f"{'what if: ' + what_if if what_if else 'as it is'} ({fleet}; jobs: {first.jobs:,})")
    if first.left_out:
        print(f"left out, since no part of this fleet can hold them: {first.left_out:,}")
    output.table(COLUMNS, [row(one) for one in summaries], "nothing was simulated")
    print()


def _write(path: Path | None, text: Callable[[], str]) -> None:
    if path is None:
        return
    try:
        path.write_text(text())
    except OSError as exc:
        raise Failure(f"{path} cannot be written: {exc.strerror}; the figures are above") from exc
    output.note(f"wrote {path}")


def _simulator() -> tuple[Any, Any]:
    # Here, since the planner needs NumPy, which a machine that only talks to a control plane does not have.
    try:
        from godwit.cli import simulating  # noqa: PLC0415
        from godwit.scheduler.simulator import report  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise Failure(f"simulations need {exc.name}: install godwit[server]") from exc
    return simulating, report
