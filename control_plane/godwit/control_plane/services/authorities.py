"""Whose certificates are believed, who signs, and what agents get signed.

All of it follows from when each authority was made, so that replicas agree without a word: a new one is believed at
once, and signs when every agent that is heard had the time to be told of it; the one before is believed for as long
again, until the last certificate that it signed is over.
"""

import secrets as randomness
from collections.abc import Sequence

from godwit.control_plane import certificates
from godwit.control_plane.certificates import Pair
from godwit.control_plane.context import Context
from godwit.control_plane.envelope import About
from godwit.control_plane.services import node_access
from godwit.control_plane.store import authorities, queries
from godwit.control_plane.store.authorities import Authority
from godwit.control_plane.store.database import Transaction
from godwit.domain.errors import Conflict, NotFound
from godwit.domain.intents import IntentKind
from godwit.domain.wire import certificates as wire

LIVES_BEFORE_IT_SIGNS = 1.0
"""In lives of a credential: an agent asks for a certificate twice in each, and is told of new authorities then."""


def signing(known: Sequence[Authority], now: float, life_s: float) -> Authority:
    """Who signs: the newest that agents had the time to hear of; the first of all signs from its first moment."""
    heard = [one for one in known if now >= one.created_at + life_s * LIVES_BEFORE_IT_SIGNS]
    return heard[-1] if heard else known[0]


def trusted(known: Sequence[Authority], now: float, life_s: float) -> list[Authority]:
    """Who is believed: who signs, who will, and who signed what may not be over yet."""
    current = signing(known, now - life_s, life_s)
    return [one for one in known if one.number >= current.number]


def ensure(context: Context) -> list[Authority]:
    """All authorities; the first is made where there is none. Twice is once, also at two replicas."""
    with context.db.write() as tx:
        known = authorities.known(tx.conn)
        if known:
            opened(context, known[-1])
            return known
        return [_add(context, tx, 1)]


def rotate(context: Context) -> Authority:
    """A new authority, which signs once agents know it. Raises `Conflict` while another change is under way."""
    now = context.now()
    with context.db.write() as tx:
        known = authorities.known(tx.conn)
        if known and len(trusted(known, now, context.credential_s)) > 1:
            raise Conflict(
                "agents are moving to another authority already; wait until `godwit authorities` shows none as coming "
                "or trusted"
            )
        return _add(context, tx, known[-1].number + 1 if known else 1)


def views(context: Context) -> list[wire.AuthorityView]:
    """All of them, oldest first, and how they stand now."""
    with context.db.read() as conn:
        return _views(context, authorities.known(conn))


def begin(context: Context) -> wire.AuthorityView:
    """A new authority, for who uses them. Raises `Conflict` without `agents_tls`, and as `rotate` does."""
    if context.agents_tls is None:
        raise Conflict("agents show no certificates here: set `agents_tls` in config.yaml first")
    rotate(context)
    return views(context)[-1]


def _views(context: Context, known: Sequence[Authority]) -> list[wire.AuthorityView]:
    if not known:
        return []
    now, life_s = context.now(), context.credential_s
    signer, believed = signing(known, now, life_s).number, {one.number for one in trusted(known, now, life_s)}
    return [
        wire.AuthorityView(
            number=one.number,
            state="signs" if one.number == signer else "coming" if one.number > signer
            else "trusted" if one.number in believed else "over",
            key=certificates.key_of(one.certificate),
            created_at=one.created_at,
            signs_from=one.created_at if one is known[0] else one.created_at + life_s * LIVES_BEFORE_IT_SIGNS,
        )
        for one in known
    ]  # fmt: skip


def opened(context: Context, authority: Authority) -> Pair:
    """An authority with its key. Raises `Conflict` where the home has not the key that it was sealed with."""
    try:
        return Pair(authority.certificate, context.envelope.open(authority.key, about(authority.number)))
    except Conflict as exc:
        raise Conflict(
            "the authority of agents' certificates cannot be opened: it was sealed with another key; restore "
            "credentials.key (or GODWIT_CREDENTIALS_KEY). If that is gone for good, empty the table `authorities`: "
            "nodes are then launched anew"
        ) from exc


def about(number: int) -> About:
    """As whose key it is sealed: no project has an empty name."""
    return About("", "authority", number)


def discovered(context: Context, node_id: str, nonce: str) -> wire.Authorities:
    """Whom a machine may believe, with a proof for each join token that it may have. Raises `NotFound`."""
    if context.agents_tls is None:
        raise NotFound("this control plane has no listener for agents with TLS of its own")
    url, now = context.agents_tls.url, context.now()
    with context.db.read() as conn:
        believed = [one.certificate for one in trusted(authorities.known(conn), now, context.credential_s)]
        launches = queries.intents_of(conn, node_id, IntentKind.LAUNCH_NODE)
    tokens = [context.keyring.join_token(node_id, launch.id) for launch in launches]
    if not tokens:
        raise NotFound("no machine was launched as that node")
    proofs = [wire.proof(token, nonce, url, believed) for token in tokens]
    return wire.Authorities(url=url, certificates=believed, proofs=proofs)


def certified(context: Context, tx: Transaction, node_id: str, agent_id: str, csr: str) -> wire.CertificateReply:
    """A certificate for an agent that was let in. Raises `InvalidRequest` for what cannot be signed."""
    now, life_s = context.now(), context.credential_s
    known = authorities.known(tx.conn)
    pair = opened(context, signing(known, now, life_s))
    certificate = certificates.certify(pair, csr, node_id, agent_id, now, life_s)
    return wire.CertificateReply(
        certificate=certificate, authorities=[one.certificate for one in trusted(known, now, life_s)]
    )


def renewed(context: Context, credential: str, csr: str) -> wire.CertificateReply:
    """The next certificate of an agent. Raises `Unauthenticated`, `Gone`, and `NotFound` without `agents_tls`."""
    with context.db.read() as conn:
        tx = Transaction(conn)
        node, agent = node_access.authenticate(context, tx, credential)
        if context.agents_tls is None:
            raise NotFound("this control plane gives no certificates to agents")
        return certified(context, tx, node.id, agent.agent_id, csr)


def server(context: Context, known: Sequence[Authority], hosts: Sequence[str]) -> Pair:
    """A new certificate for a listener of this process, by who signs now."""
    now = context.now()
    pair = opened(context, signing(known, now, context.credential_s))
    return certificates.make_server(pair, hosts, now)


def _add(context: Context, tx: Transaction, number: int) -> Authority:
    now = context.now()
    pair = certificates.make_authority(f"{context.identity} {randomness.token_hex(4)}", now)
    key = context.envelope.seal(pair.key, about(number))
    made = Authority(number, pair.certificate, key, now)
    authorities.add(tx, made)
    return made
