"""`godwit keys`: API keys with which people come to services."""

from typing import Annotated

import typer
from godwit.cli import console, output
from godwit.cli.client import path_of
from godwit.domain.wire.keys import KeyIn, KeyMade, KeyView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("ID"),
    output.Column("PROJECT", whole=False),
    output.Column("SERVICES", whole=False),
    output.Column("REQ/MIN", right=True),
    output.Column("TOK/MIN", right=True),
    output.Column("PRIORITY"),
)


@app.callback(invoke_without_command=True)
def keys(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List API keys. Their texts are shown once, when they are made."""
    if context.invoked_subcommand is None:
        list_keys(form)


@app.command("list")
def list_keys(form: output.FormatOption = output.Format.TABLE) -> None:
    """List API keys: the same as without a verb."""
    found = list(console.control_plane().pages("/v1/keys", KeyView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    output.table(COLUMNS, [_row(one) for one in found], "no keys; make one with `godwit keys add`")


@app.command("add")
def add(
    project: Annotated[str, typer.Option(help="Whose services it opens.")] = "default",
    service: Annotated[list[str] | None, typer.Option(help="Only this service; may be repeated.")] = None,
    requests_per_min: Annotated[int | None, typer.Option(min=1, help="At most so many, at each gateway.")] = None,
    tokens_per_min: Annotated[int | None, typer.Option(min=1, help="At most so many, at each gateway.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Its requests go after interactive ones.")] = False,
) -> None:
    """Make a key and print its text, which is shown this once."""
    fields = {"requests_per_min": requests_per_min, "tokens_per_min": tokens_per_min}
    wanted = KeyIn.model_validate(
        {"project": project, "services": service or [], "priority": "batch" if batch else "interactive"}
        | {key: value for key, value in fields.items() if value is not None}
    )
    made = console.control_plane().post("/v1/keys", wanted, KeyMade)
    print(made.text)
    output.note(f"made {made.id}; send it as `Authorization: Bearer KEY`. It is not shown again")


@app.command("rm")
def remove(key: Annotated[str, typer.Argument(help="The id of a key.")]) -> None:
    """Remove a key; gateways refuse it within seconds."""
    console.control_plane().delete(path_of("/v1/keys", key))
    output.note(f"{key} is removed")


def _row(of: KeyView) -> tuple[str, ...]:
    limits = ("-" if limit is None else str(limit) for limit in (of.requests_per_min, of.tokens_per_min))
    return (of.id, of.project, ", ".join(of.services) or "all", *limits, of.priority)
