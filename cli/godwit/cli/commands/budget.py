"""`godwit budget`: what projects and jobs may spend, and what they have."""

import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.costs import BudgetIn, BudgetsView, BudgetView, OnBudget

app = typer.Typer(rich_markup_mode=None, add_completion=False)
ProjectArgument = Annotated[str, typer.Argument(help="A project's name.")]
NONE = "none"
COLUMNS = (
    output.Column("OF", whole=False),
    output.Column("BUDGET", right=True),
    output.Column("SPENT", right=True),
    output.Column("SHARE", right=True),
    output.Column("NOW", right=True),
    output.Column("SPENT IN", right=True),
    output.Column("THEN"),
)


@app.callback(invoke_without_command=True)
def budget(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List budgets: of projects for this calendar month (UTC), of jobs for all their life; or set one.

    THEN is what happens once it is spent: warn, stop-new (nothing new starts) or stop (what runs is stopped too). A
    job's budget does what its project's does. People are told at 50, 80 and 100 %.
    """
    if context.invoked_subcommand is not None:
        return
    found = console.control_plane().get("/v1/budgets", BudgetsView)
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    empty = "no project has a budget; `godwit budget set PROJECT 1000` gives one"
    output.table(COLUMNS, [_row(each) for each in found.budgets], empty)


@app.command("set")
def set_budget(
    project: ProjectArgument,
    usd: Annotated[str, typer.Argument(help="Dollars a month, or none for no budget.")],
    then: Annotated[OnBudget, typer.Option(help="What happens once it is spent.")] = OnBudget.WARN,
) -> None:
    """Set what a project may spend in each calendar month."""
    client = console.control_plane()
    if usd == NONE:
        client.delete(path_of("/v1/projects", project) + "/budget")
        output.note(f"project {project} has no budget any more")
        return
    try:
        wanted = BudgetIn(budget_usd=float(usd), on_spent=then)
    except ValueError as exc:
        raise Failure(f"{usd!r} is no amount of dollars above 0; name one, or none", ExitCode.USAGE) from exc
    view = client.replace(path_of("/v1/projects", project) + "/budget", wanted, BudgetView)
    output.table(COLUMNS, [_row(view)], "")


def _row(of: BudgetView) -> tuple[str, ...]:
    ends = "-" if of.ends_at is None else figures.duration(max(0.0, of.ends_at - time.time()))
    spent = "spent" if of.spent_usd >= of.budget_usd else ends
    share, pace = f"{of.spent_usd / of.budget_usd:.0%}", figures.usd_per_hour(of.usd_per_hour)
    amounts = (figures.usd(of.budget_usd), figures.usd(of.spent_usd), share, pace, spent)
    return (f"{of.subject} {of.label}", *amounts, str(of.on_spent))
