"""`godwit breaker`: whether automation may take nodes out of the fleet."""

import time

import typer
from godwit.cli import console, figures, output
from godwit.domain.wire.incidents import BreakerView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.callback(invoke_without_command=True)
def breaker(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """Show whether automation may take nodes out of the fleet, and what it took within the last hour."""
    if context.invoked_subcommand is not None:
        return
    found = console.control_plane().get("/v1/breaker", BreakerView)
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    if found.tripped_at is None:
        print("closed: automation acts")
    else:
        print(f"tripped {figures.ago(found.tripped_at, now)}: {found.reason}")
        print("no node is taken out until a person resets it: godwit breaker reset")
    for cordon in found.cordons:
        domain = "" if cordon.fabric_domain is None else f", {cordon.fabric_domain}"
        print(f"{figures.clock(cordon.at)}  took {cordon.node_id} out ({cordon.provider}{domain})")


@app.command("reset")
def reset() -> None:
    """Let automation act again: what was held goes on."""
    console.control_plane().post("/v1/breaker/reset", None, BreakerView)
    output.note("reset; what was held goes on, see `godwit incidents`")
