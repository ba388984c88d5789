"""`godwit audit`: who changed what, and whether the record of it is as it was written."""

import re
import time
from itertools import islice
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import PAGE_LIMIT
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.access import KNOWN_PATTERN, AuditCheck, AuditView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("WHEN", right=True),
    output.Column("WHO", whole=False),
    output.Column("FROM"),
    output.Column("STATUS", right=True),
    output.Column("WHAT", whole=False),
)


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    actor: Annotated[str | None, typer.Option(help="Only what this person or token did.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List who changed something, or tried to, the newest first; for admins."""
    if context.invoked_subcommand is not None:
        return
    wanted = {"actor": actor, "limit": min(limit, PAGE_LIMIT)}
    found = list(islice(console.control_plane().pages("/v1/audit", AuditView, wanted), limit))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(COLUMNS, [_row(one, now) for one in found], "nobody changed anything yet")


@app.command("check")
def check(
    known: Annotated[str | None, typer.Option(help="ROWS:HASH, as an earlier check printed it.")] = None,
) -> None:
    """Check the hashes of all rows, and print ROWS:HASH for the next check; keep it where no operator can write.

    With what an earlier check printed, also rows that were cut off since and a log that was written anew are found.
    """
    if known is not None and re.fullmatch(KNOWN_PATTERN, known) is None:
        raise Failure("--known takes ROWS:HASH, the line that an earlier `godwit audit check` printed", ExitCode.USAGE)
    found = console.control_plane().get("/v1/audit/check", AuditCheck, {"known": known})
    if not found.is_intact:
        wrong = f"row {found.broken_at} of the audit log is missing, or is not as it was written"
        raise Failure(f"{wrong}; {found.rows} rows before it are whole", ExitCode.FAILED)
    output.note(f"{found.rows} rows, all as they were written" + (", with those known before" if known else ""))
    if found.rows:
        print(f"{found.rows}:{found.last_hash}")


def _row(of: AuditView, now: float) -> tuple[str, ...]:
    return (figures.age(of.at, now), of.actor, of.source, str(of.status), f"{of.method} {of.path}")
