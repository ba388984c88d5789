"""`godwit offers`: what can be bought now, cheapest first."""

import itertools
import time
from typing import Annotated

import typer
from godwit.cli import console, figures, output
from godwit.domain.wire.views import OfferView

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("PROVIDER/REGION", whole=False),
    output.Column("TYPE", whole=False),
    output.Column("GPUS"),
    output.Column("SPOT"),
    output.Column("PRICE/H", right=True),
    output.Column("GPU/H", right=True),
    output.Column("LEFT", right=True),
    output.Column("SEEN", right=True),
)


@app.command()
def offers(
    gpus: Annotated[str | None, typer.Option(help="Such as H100:8.")] = None,
    infra: Annotated[str | None, typer.Option(help="provider[/region[/zone]].")] = None,
    spot: Annotated[
        bool | None, typer.Option("--spot/--on-demand", help="Only this market.", show_default=False)
    ] = None,
    max_price: Annotated[float | None, typer.Option(min=0, help="USD per GPU and hour, at most.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List what can be bought now, cheapest first, with the age of each figure."""
    market = None if spot is None else str(spot).lower()
    params = {"gpus": gpus, "infra": infra, "spot": market, "max_price": max_price, "limit": min(limit, 100)}
    found = list(itertools.islice(console.control_plane().pages("/v1/offers", OfferView, params), limit))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    output.table(
        COLUMNS,
        [row(offer, now) for offer in found],
        "nothing like that is on offer; `godwit providers` says who was asked",
    )
    for line in held(found, now):
        print(line)


def row(offer: OfferView, now: float) -> tuple[str, ...]:
    """An offer as a line of the table; `held` offers are marked with an exclamation mark."""
    gpus = f"{offer.gpu_model}:{offer.gpu_count}" if offer.gpu_model else "-"
    left = "?" if offer.capacity is None else str(offer.capacity)
    is_held = offer.held_until is not None and offer.held_until > now
    return (
        f"{offer.provider}/{offer.region}",
        offer.instance_type,
        gpus,
        "yes" if offer.spot else "no",
        figures.usd(offer.price_usd_per_hour),
        figures.usd(offer.price_usd_per_gpu_hour),
        f"{left}!" if is_held else left,
        figures.age(offer.seen_at, now),
    )


def held(found: list[OfferView], now: float) -> list[str]:
    """Why the marked offers are passed over, and until when."""
    return [
        f"! {offer.key}: {offer.held_because or 'passed over'}; looked at again {figures.until(offer.held_until, now)}"
        for offer in found
        if offer.held_until is not None and offer.held_until > now
    ]
