"""`godwit costs`: where the money went, and what of it bought no work."""

import time
from enum import StrEnum
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import ControlPlane, Params
from godwit.cli.exits import ExitCode, Failure
from godwit.domain import times
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire.costs import By, CostRow, CostsView

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PAGE = 100
ROWS_MAX = 10_000


class ByOption(StrEnum):
    """As `By`, and by service."""

    PROJECT = "project"
    USER = "user"
    JOB = "job"
    PROVIDER = "provider"
    REASON = "reason"
    SERVICE = "service"


_TITLES = {by: by.value.upper() for by in ByOption}


@app.command()
def costs(
    by: Annotated[ByOption, typer.Option(help="What a line stands for.")] = ByOption.PROJECT,
    since: Annotated[str, typer.Option(help="From when on: 7d, 12h, or an instant in seconds.")] = "7d",
    until: Annotated[str | None, typer.Option(help="Until when; now if left out.")] = None,
    project: Annotated[str | None, typer.Option(help="Only what this project paid for.")] = None,
    lost: Annotated[bool, typer.Option("--lost", help="Only what was lost, and what would have avoided it.")] = False,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Say where the money went: dearest first, with GPU hours by what they did, and what was lost.

    WORK is busy and checkpointing, LOST what bought no work: idle, broken, recovering, waiting, held. Closed hours are
    counted whole.
    """
    asked: Params = {
        "by": By.PROJECT if by is ByOption.SERVICE else By(by.value), "since": _instant(since, "--since"),
        "until": None if until is None else _instant(until, "--until"), "project": project, "limit": PAGE,
    }  # fmt: skip
    view = _whole(console.control_plane(), asked)
    if form is not output.Format.TABLE:
        output.show(view, form)
        return
    if not lost:
        rows = view.services if by is ByOption.SERVICE else view.rows
        _table(view, rows, _TITLES[by], is_service=by is ByOption.SERVICE)
    _lost(view)
    _budgets(view)


def _whole(client: ControlPlane, asked: Params) -> CostsView:
    """All pages as one."""
    view = client.get("/v1/costs", CostsView, asked)
    rows, cursor = list(view.rows), view.next_cursor
    while cursor is not None and len(rows) < ROWS_MAX:
        more = client.get("/v1/costs", CostsView, {**asked, "cursor": cursor})
        rows, cursor = [*rows, *more.rows], more.next_cursor
    return view.model_copy(update={"rows": rows, "next_cursor": cursor})


def _instant(text: str, option: str) -> float:
    """An instant in seconds, or so long ago."""
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    try:
        return time.time() - times.duration_s(text)
    except InvalidRequest as exc:
        message = f"{option}: {text!r} is neither a duration (7d, 12h, 30m) nor an instant in seconds"
        raise Failure(message, ExitCode.USAGE) from exc


def _table(view: CostsView, rows: list[CostRow], title: str, *, is_service: bool) -> None:
    columns = [output.Column(title, whole=False), output.Column("USD", right=True), output.Column("SPOT", right=True)]
    columns += [output.Column(name, right=True) for name in ("GPU-H", "WORK", "LOST", "EXTRAS")]
    if is_service:
        columns[2:] = [output.Column("TOKENS", right=True), output.Column("USD/M TOKENS", right=True)]
    shown = [*rows, *([] if is_service else [view.total])]
    output.table(columns, [_row(row, is_service=is_service) for row in shown], "nothing was paid for")
    span = figures.duration(max(0.0, view.until - view.since))
    output.note(f"{span}: {figures.usd(view.total.usd)}, now {figures.usd_per_hour(view.usd_per_hour)}")


_WORK = ("busy", "checkpointing")
_LOST = ("idle", "broken", "recovering", "waiting", "held")


def _row(of: CostRow, *, is_service: bool) -> tuple[str, ...]:
    name, usd = of.label or of.key or "-", figures.usd(of.usd)
    if is_service:
        price = "-" if of.usd_per_million_tokens is None else figures.usd(of.usd_per_million_tokens)
        return (name, usd, f"{of.tokens or 0:,}", price)
    hours = sum(of.gpu_s.values()) / 3600
    parts = [_share(of, _WORK), _share(of, _LOST), figures.usd(of.egress_usd + of.storage_usd)]
    return (name, usd, figures.usd(of.spot_usd), f"{hours:,.1f}", *parts)


def _share(of: CostRow, reasons: tuple[str, ...]) -> str:
    whole = sum(of.usd_by_reason.values()) or sum(of.gpu_s.values())
    of_kind = of.usd_by_reason if sum(of.usd_by_reason.values()) else of.gpu_s
    return f"{sum(of_kind.get(reason, 0.0) for reason in reasons) / whole:.0%}" if whole else "-"


def _lost(view: CostsView) -> None:
    if not view.waste:
        return
    print(f"\nlost: {figures.usd(view.lost_usd)}")
    columns = (output.Column("USD", right=True), output.Column("KIND"), output.Column("AT", whole=False))
    rows = [(figures.usd(row.usd), row.kind, row.subject, row.message) for row in view.waste]
    output.table((*columns, output.Column("WHAT", whole=False)), rows, "")
    for row in {row.kind: row for row in reversed(view.waste)}.values():
        print(f"  {row.kind} would have been avoided by {row.would_avoid}")


def _budgets(view: CostsView) -> None:
    for one in view.budgets:
        share = one.spent_usd / one.budget_usd
        said = f"budget of {one.subject} {one.label}: {figures.usd(one.spent_usd)} of {figures.usd(one.budget_usd)}"
        output.note(f"{said} ({share:.0%}, then {one.on_spent})")
