"""Looking for offers: what people search the market by, answered by its columns."""

from dataclasses import dataclass

from godwit.control_plane.store import entities, schema
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk, Infra
from sqlalchemy import Connection, or_, select


@dataclass(frozen=True)
class OfferSearch:
    """What people look for on the market; None means that it does not matter."""

    gpus: GpuAsk | None = None
    infra: Infra | None = None
    spot: bool | None = None
    price_max_usd_per_gpu_hour: float | None = None


def offers_page(conn: Connection, search: OfferSearch, limit: int, offset: int) -> list[Offer]:
    """A page of the offers that fit, cheapest per GPU first."""
    table = schema.offers
    query = select(table.c.data, table.c.seen_at).order_by(table.c.price_usd_per_gpu_hour, table.c.key)
    if search.gpus is not None:
        query = query.where(table.c.gpu_count >= search.gpus.count)
        if search.gpus.count:
            models = [or_(table.c.gpu_model == m, table.c.gpu_model.startswith(f"{m}-")) for m in search.gpus.models]
            query = query.where(or_(*models))
    if search.infra is not None:
        query = query.where(table.c.provider == search.infra.provider)
        if search.infra.region is not None:
            query = query.where(table.c.region == search.infra.region)
    if search.spot is not None:
        query = query.where(table.c.spot == search.spot)
    if search.price_max_usd_per_gpu_hour is not None:
        query = query.where(table.c.price_usd_per_gpu_hour <= search.price_max_usd_per_gpu_hour)
    found = [
        entities.listed_offer_from(row.data, row.seen_at) for row in conn.execute(query.limit(limit).offset(offset))
    ]
    zone = search.infra.zone if search.infra is not None else None
    return found if zone is None else [offer for offer in found if offer.zone == zone]
