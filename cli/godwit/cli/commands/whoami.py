"""`godwit whoami`: who the control plane takes one for."""

import time

import typer
from godwit.cli import console, figures, output
from godwit.domain.wire.access import WhoView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def whoami(form: output.FormatOption = output.Format.TABLE) -> None:
    """Say who you are there, by which role, of which project, and until when."""
    plane = console.control_plane()
    who = plane.get("/v1/sessions/current", WhoView)
    if form is not output.Format.TABLE:
        output.show(who, form)
        return
    print(f"{who.actor} at {plane.url}")
    print(f"role     {who.role}")
    print(f"project  {who.project or 'all'}")
    if who.scopes:
        print(f"scopes   {', '.join(who.scopes)}")
    print(f"ends     {'never' if who.expires_at is None else figures.until(who.expires_at, time.time())}")
