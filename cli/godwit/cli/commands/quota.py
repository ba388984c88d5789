"""`godwit quota`: what each project may hold, and what is used of it."""

from collections.abc import Iterator
from typing import Annotated

import typer
from godwit.cli import console, output, quotas
from godwit.cli.client import path_of
from godwit.cli.commands import projects
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.errors import InvalidRequest
from godwit.domain.projects import CPUS, MEMORY_GIB
from godwit.domain.wire.projects import LimitIn, ProjectIn, ProjectView, UsageView
from pydantic import ValidationError

app = typer.Typer(rich_markup_mode=None, add_completion=False)
ProjectArgument = Annotated[str, typer.Argument(help="A project's name; one that is not there is added.")]
COLUMNS = (
    output.Column("PROJECT", whole=False),
    output.Column("COHORT", whole=False),
    output.Column("RESOURCE"),
    output.Column("QUOTA", right=True),
    output.Column("USED", right=True),
    output.Column("BORROWED", right=True),
    output.Column("LENT", right=True),
)


@app.callback(invoke_without_command=True)
def quota(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List what each project may hold, and what is used, borrowed and lent of it; or set a quota.

    USED counts what is bought for waiting jobs too. `16+8` may borrow 8 more, `16+` what its cohort has. A resource
    without a line has no limit. `godwit projects` tells what each held lately.
    """
    if context.invoked_subcommand is not None:
        return
    found = list(console.control_plane().pages("/v1/projects", ProjectView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    rows = [row for each in found for row in _rows(each)]
    output.table(COLUMNS, rows, "no project has a quota; `godwit quota set PROJECT --gpus H100=16` gives one")


@app.command("set")
def set_quota(
    project: ProjectArgument,
    gpus: Annotated[str | None, typer.Option(help="H100=16,any=32: of a family, of all GPUs; none for none.")] = None,
    cpus: Annotated[str | None, typer.Option(help="CPUs, or none for no limit.")] = None,
    memory_gib: Annotated[str | None, typer.Option(help="GiB of memory, or none for no limit.")] = None,
    cohort: Annotated[str | None, typer.Option(help="With whom it lends and borrows, or none.")] = None,
    borrow: Annotated[str | None, typer.Option(help="The most above its own: 8, or H100=8,any=0, or none.")] = None,
    lend: Annotated[str | None, typer.Option(help="The most of its own that others get; as --borrow.")] = None,
    weight: Annotated[float | None, typer.Option(help="Its part when projects want the same GPUs; 1 at first.")] = None,
) -> None:
    """Change a project's quota; what is not named stays as it is. What runs above a smaller quota runs on."""
    client = console.control_plane()
    before = projects.known(client, project)
    nominal = quotas.amounts(gpus, "--gpus")
    nominal |= quotas.amounts(cpus, "--cpus", CPUS) | quotas.amounts(memory_gib, "--memory-gib", MEMORY_GIB)
    try:
        limits = quotas.limits(
            {} if before is None else before.limits,
            nominal,
            quotas.amounts(borrow, "--borrow"),
            quotas.amounts(lend, "--lend"),
        )
        wanted = _wanted(before, limits, cohort, weight)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise Failure(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}", ExitCode.USAGE) from exc
    except InvalidRequest as exc:
        words = (f"{'.'.join(str(part) for part in p.path)}: {p.message}" for p in exc.problems)
        raise Failure("; ".join(words), ExitCode.USAGE) from exc
    view = client.replace(path_of("/v1/projects", project), wanted, ProjectView)
    output.table(COLUMNS, list(_rows(view)), f"project {project} has no quota: it may hold what it likes")


def _wanted(
    before: ProjectView | None, limits: dict[str, LimitIn], cohort: str | None, weight: float | None
) -> ProjectIn:
    if cohort is None and before is not None:
        cohort = before.cohort
    if weight is None:
        weight = 1.0 if before is None else before.weight
    version = None if before is None else before.version
    wanted = ProjectIn(
        limits=limits, cohort=None if cohort == quotas.NOTHING else cohort, weight=weight, version=version
    )
    wanted.to_limits()
    return wanted


def _rows(of: ProjectView) -> Iterator[tuple[str, ...]]:
    for name, limit in of.limits.items():
        figures = (_figure(amount) for amount in (limit.used, limit.borrowed, limit.lent))
        yield (of.name, of.cohort or "-", name, _quota(of, limit), *figures)


def _quota(of: ProjectView, limit: UsageView) -> str:
    if of.cohort is None or limit.borrow == 0:
        return str(limit.nominal)
    return f"{limit.nominal}+" if limit.borrow is None else f"{limit.nominal}+{limit.borrow}"


def _figure(amount: float) -> str:
    return f"{amount:.1f}".removesuffix(".0") if amount else "-"
