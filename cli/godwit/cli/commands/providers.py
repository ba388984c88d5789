"""`godwit providers`: the configured clouds and how they do."""

import time

import typer
from godwit.cli import console, figures, output
from godwit.domain.wire.views import ProviderView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("REACHABLE"),
    output.Column("OFFERS", right=True),
    output.Column("NODES", right=True),
    output.Column("CONTACT", right=True),
    output.Column("DETAIL", whole=False),
)


@app.command()
def providers(form: output.FormatOption = output.Format.TABLE) -> None:
    """List the configured clouds, whether they answer, and what they said last."""
    found = list(console.control_plane().pages("/v1/providers", ProviderView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    rows = [
        (each.name, "yes" if each.reachable else "no", str(each.offers), str(each.nodes),
         figures.ago(each.last_contact_at, now), each.detail)
        for each in found
    ]  # fmt: skip
    output.table(COLUMNS, rows, "no providers are configured; see config.yaml in the home folder")
