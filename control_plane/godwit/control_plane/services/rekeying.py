"""What was sealed with a former key is sealed with the present one, when a control plane starts."""

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.envelope import About
from godwit.control_plane.services import authorities
from godwit.control_plane.store import authorities as stored
from godwit.control_plane.store import schema, sealed
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.vault import Vault
from godwit.domain.errors import Conflict
from sqlalchemy import select, update

log = structlog.get_logger()


def to_present_key(context: Context, vault: Vault) -> int:
    """Wrap the data keys of secrets and authorities with the present key, and seal providers' credentials with it.

    Returns how many were changed; again changes nothing. What no key opens is logged and left as it is: the secret
    can be set again, and a control plane that does not start helps nobody.
    """
    with context.db.write() as tx:
        secrets, accounts = _secrets(context, tx) + _authorities(context, tx), _accounts(vault, tx)
    if secrets or accounts:
        log.info("sealed with the present key", secrets=secrets, accounts=accounts, key_id=context.envelope.key_id)
    return secrets + accounts


def _secrets(context: Context, tx: Transaction) -> int:
    changed = 0
    for row in sealed.of_other_keys(tx.conn, context.envelope.key_id):
        about = About(row.project, row.name, row.version)
        try:
            sealed.rewrap(tx, row, context.envelope.rewrapped(sealed.sealed_of(row), about))
        except Conflict as exc:
            log.error("a secret cannot be opened", project=row.project, secret=row.name, reason=exc.message)
            continue
        changed += 1
    return changed


def _authorities(context: Context, tx: Transaction) -> int:
    changed = 0
    for one in stored.known(tx.conn):
        if one.key.key_id == context.envelope.key_id:
            continue
        try:
            stored.rewrap(tx, one.number, context.envelope.rewrapped(one.key, authorities.about(one.number)))
        except Conflict as exc:
            log.error("an authority of agents' certificates cannot be opened", number=one.number, reason=exc.message)
            continue
        changed += 1
    return changed


def _accounts(vault: Vault, tx: Transaction) -> int:
    table, changed = schema.providers, 0
    for row in tx.conn.execute(select(table.c.name, table.c.secrets)).all():
        try:
            anew = vault.resealed(row.secrets)
        except Conflict as exc:
            log.error("credentials cannot be opened", provider=row.name, reason=exc.message)
            continue
        if anew is not None:
            tx.conn.execute(update(table).where(table.c.name == row.name).values(secrets=anew))
            changed += 1
    return changed
