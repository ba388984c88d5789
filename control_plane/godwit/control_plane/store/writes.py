"""Writes of observed facts: they carry no version, because the newest observation is simply the truth."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict

from godwit.control_plane.store import access, entities, schema, statements
from godwit.control_plane.store.database import Transaction
from godwit.domain.jobs import Progress
from godwit.domain.offers import Offer
from godwit.scheduler.snapshot import Hold
from godwit.scheduler.trust import Record
from sqlalchemy import delete, insert, select, update


def set_meta(tx: Transaction, key: str, value: str) -> None:
    """Write a setting that does not exist yet."""
    tx.conn.execute(insert(schema.meta).values(key=key, value=value))


def replace_meta(tx: Transaction, key: str, value: str) -> None:
    """Write a setting, whether or not it exists."""
    tx.conn.execute(delete(schema.meta).where(schema.meta.c.key == key))
    set_meta(tx, key, value)


def add_token(tx: Transaction, token_id: str, digest: str, role: str, now: float) -> None:
    """Record a bearer token by its SHA-256."""
    tx.conn.execute(insert(access.tokens).values(id=token_id, hash=digest, role=role, created_at=now))


def heard(tx: Transaction, node_id: str, now: float, lease_until: float) -> None:
    """The node's agent was heard, and holds a lease until `lease_until`."""
    changed = {"of_id": node_id, "last_seen_at": now, "lease_until": lease_until}
    tx.conn.execute(statements.update_where(schema.nodes.c.id), changed)


def add_agent(tx: Transaction, node_id: str, agent_id: str, credential_hash: str, now: float) -> None:
    """An agent joined as this node."""
    tx.conn.execute(
        insert(schema.agents).values(
            node_id=node_id,
            agent_id=agent_id,
            credential_hash=credential_hash,
            joined_at=now,
            observed_seq=0,
            last_sent_at=0.0,
        )
    )


def agent_renewed(tx: Transaction, node_id: str, credential_hash: str) -> None:
    """The agent shows another credential than that of this hash, which is good no more."""
    changed = {"of_node_id": node_id, "credential_hash": credential_hash}
    tx.conn.execute(statements.update_where(schema.agents.c.node_id), changed)


def agent_heard(tx: Transaction, node_id: str, observed_seq: int, sent_at: float) -> None:
    """The agent's observations up to `observed_seq` are counted; its newest heartbeat was sent at `sent_at`."""
    changed = {"of_node_id": node_id, "observed_seq": observed_seq, "last_sent_at": sent_at}
    tx.conn.execute(statements.update_where(schema.agents.c.node_id), changed)


def job_progress(tx: Transaction, job_id: str, progress: Progress) -> None:
    """The program said how far it is."""
    changed = {"of_id": job_id, "progress": entities.progress_text(progress)}
    tx.conn.execute(statements.update_where(schema.jobs.c.id), changed)


def attempt_last_lines(tx: Transaction, attempt_id: str, lines: Sequence[str]) -> None:
    """The last lines of output, as the agent reported them."""
    table = schema.attempts
    tx.conn.execute(update(table).where(table.c.id == attempt_id).values(last_lines=json.dumps(list(lines))))


def attempt_saved(tx: Transaction, attempt_id: str, size_bytes: int, now: float) -> None:
    """The attempt committed a checkpoint, by our own clock."""
    table = schema.attempts
    tx.conn.execute(update(table).where(table.c.id == attempt_id).values(saved_at=now, saved_bytes=size_bytes))


def attempt_failed_to_start(tx: Transaction, attempt_id: str) -> None:
    """The attempt was interrupted before its program ran."""
    table = schema.attempts
    tx.conn.execute(update(table).where(table.c.id == attempt_id).values(failed_start=True))


def replace_offers(tx: Transaction, provider: str, offers: Sequence[Offer]) -> None:
    """What a provider sells now, whole: what is not in it is sold no more."""
    table = schema.offers
    tx.conn.execute(delete(table).where(table.c.provider == provider))
    if offers:
        # By key: a provider that lists one twice must not hide all the others.
        by_key = {offer.key: offer for offer in offers}
        rows = [entities.offer_row(offer) for offer in by_key.values()]
        tx.conn.execute(insert(table), rows)


def hold(tx: Transaction, new: Hold) -> None:
    """Pass an offer over for a while; the later end wins."""
    table = schema.holds
    known = tx.conn.execute(select(table.c.until).where(table.c.offer_key == new.offer_key)).scalar()
    if known is None:
        tx.conn.execute(insert(table).values(offer_key=new.offer_key, until=new.until, reason=new.reason))
    elif known < new.until:
        changed = update(table).where(table.c.offer_key == new.offer_key)
        tx.conn.execute(changed.values(until=new.until, reason=new.reason))


def loss(tx: Transaction, offer: Offer, now: float) -> None:
    """A node of this offer was lost."""
    tx.conn.execute(delete(schema.losses).where(schema.losses.c.provider == offer.provider))
    tx.conn.execute(insert(schema.losses).values(provider=offer.provider, at=now))
    experience(tx, offer, Record(losses=1))


def experience(tx: Transaction, offer: Offer, more: Record) -> None:
    """Something happened with this offer: add it to what is known."""
    table, added = schema.experience, asdict(more)
    known = tx.conn.execute(select(table.c.offer_key).where(table.c.offer_key == offer.key)).first()
    if known is None:
        tx.conn.execute(insert(table).values(offer_key=offer.key, **added))
    else:
        sums = {name: table.c[name] + value for name, value in added.items()}
        tx.conn.execute(update(table).where(table.c.offer_key == offer.key).values(**sums))


def checkpoint(
    tx: Transaction, job_id: str, epoch: int, step: int, at: float, size_bytes: int, files: int, manifest_url: str
) -> bool:
    """Record a committed checkpoint; False when it is known already."""
    table = schema.checkpoints
    key = (table.c.job_id == job_id, table.c.epoch == epoch, table.c.step == step)
    if tx.conn.execute(select(table.c.step).where(*key)).first() is not None:
        return False
    tx.conn.execute(
        insert(table).values(
            job_id=job_id, epoch=epoch, step=step, at=at, size_bytes=size_bytes, files=files, manifest_url=manifest_url
        )
    )
    return True


def checkpoints_gone(tx: Transaction, job_id: str, manifest_urls: Collection[str], now: float) -> int:
    """These checkpoints were deleted; returns how many of them were known. That they were reached stays known."""
    table = schema.checkpoints
    of = (table.c.job_id == job_id, table.c.manifest_url.in_(manifest_urls))
    return tx.conn.execute(update(table).where(*of).values(manifest_url="", deleted_at=now)).rowcount
