"""Accounts at clouds: add one with its credentials, check it, remove it. Credentials go in and never come out."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from godwit.control_plane.contacts import Contact
from godwit.control_plane.context import Context
from godwit.control_plane.roster import Roster
from godwit.control_plane.services import views
from godwit.control_plane.store import queries, schema
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.vault import Vault
from godwit.domain.errors import Conflict, CredentialsRejected, InvalidRequest, NotFound, Problem, ProviderError
from godwit.domain.ids import ProviderName
from godwit.domain.wire.providers import (
    ProviderIn,
    ProviderKindView,
    ProviderView,
    QuotaView,
    StandingView,
)
from godwit.providers import registry
from godwit.providers.kinds import Kind, Setup
from godwit.providers.layers import CallMetrics
from godwit.providers.layers.limiting import Pacing, alone
from godwit.providers.protocol import Provider
from sqlalchemy import Row, delete, insert, select


class Accounts:
    """What the routes about providers need: the roster they change, the vault, and the home for local state."""

    def __init__(
        self,
        context: Context,
        roster: Roster,
        vault: Vault,
        home: Path,
        metrics: CallMetrics,
        pacing: Pacing = alone,
    ) -> None:
        self._context, self._roster, self._vault = context, roster, vault
        self._home, self.metrics, self._pacing = home, metrics, pacing
        self._stored: dict[str, float] = {}

    def kinds(self) -> list[ProviderKindView]:
        """Every kind there is, with what it wants to know."""
        return [
            ProviderKindView(kind=name, title=kind.title, options=dict(kind.options), secrets=dict(kind.secrets))
            for name, kind in sorted(registry.KINDS.items())
        ]

    def add(self, request: ProviderIn) -> ProviderView:
        """Check the credentials with one cheap read, then store them encrypted and start to use the account.

        Raises `InvalidRequest` for an unknown kind or option, a missing credential, or one that the provider rejects;
        `Conflict` for a name that is taken; other errors of the provider as they are. Then nothing is stored.
        """
        name = request.name or request.kind
        entry = {**request.options, "kind": request.kind, "name": name}
        kind, _ = registry.checked(entry, ())
        _refuse_wrong_secrets(kind, request.secrets)
        if ProviderName(name) in self._roster:
            raise Conflict(f"a provider is called {name!r} already; remove it first, or give this one another name")
        provider = self._build(kind, name, request.options, request.secrets)
        try:
            provider.check()
        except CredentialsRejected as rejected:
            raise InvalidRequest(problems=[Problem(("secrets",), rejected.message)]) from rejected
        now = self._context.now()
        with self._context.db.write() as tx:
            if _row(tx, name) is not None:
                raise Conflict(f"a provider is called {name!r} already")
            tx.conn.execute(
                insert(schema.providers).values(
                    name=name,
                    kind=request.kind,
                    options=json.dumps(dict(request.options)),
                    secrets=self._vault.seal(request.secrets),
                    created_at=now,
                )
            )
        self._stored[name] = now
        self._roster.add(provider)
        return ProviderView(name=name, reachable=True, offers=0, nodes=0, last_contact_at=None, detail="just added")

    def overview(self, contacts: Mapping[str, Contact]) -> list[ProviderView]:
        """Every configured provider, by name, with what was last seen of it."""
        return [self._view(name, contacts) for name in sorted(self._roster)]

    def show(self, name: str, contacts: Mapping[str, Contact]) -> ProviderView:
        """One provider, with what was last seen of it. Raises `NotFound`."""
        return self._view(self._known(name).name, contacts)

    def check(self, name: str) -> StandingView:
        """Ask the provider how the account stands; a failure is an answer too. Raises `NotFound`."""
        provider = self._known(name)
        try:
            standing = provider.check()
        except ProviderError as error:
            return StandingView(name=name, reachable=False, detail=error.message)
        quotas = [QuotaView(name=q.name, limit=q.limit, left=q.left) for q in standing.quotas]
        return StandingView(
            name=name, reachable=True, account=standing.account, permitted=list(standing.permitted), quotas=quotas
        )

    def remove(self, name: str) -> None:
        """Forget an account and its credentials. Raises `NotFound`, or `Conflict` while it holds nodes."""
        with self._context.db.write() as tx:
            if _row(tx, name) is None:
                where = "it is in config.yaml" if ProviderName(name) in self._roster else "there is none"
                raise NotFound(f"no added provider is called {name!r}: {where}")
            if queries.nodes(tx.conn, provider=name):
                raise Conflict(f"{name} still holds nodes; terminate them first (`godwit nodes`)")
            tx.conn.execute(delete(schema.providers).where(schema.providers.c.name == name))
            tx.conn.execute(delete(schema.offers).where(schema.offers.c.provider == name))
        self._stored.pop(name, None)
        self._roster.remove(ProviderName(name))

    def load(self) -> None:
        """Bring the roster in line with the stored accounts, which other control planes change too; safe to repeat.

        Raises `Conflict` when the vault's key is another one.
        """
        with self._context.db.read() as conn:
            rows = conn.execute(select(schema.providers).order_by(schema.providers.c.name)).all()
        for row in rows:
            if self._stored.get(row.name) == row.created_at:
                continue
            kind, _ = registry.checked({**json.loads(row.options), "kind": row.kind, "name": row.name}, ())
            self._roster.add(self._build(kind, row.name, json.loads(row.options), self._vault.open(row.secrets)))
            self._stored[row.name] = row.created_at
        for name in self._stored.keys() - {row.name for row in rows}:
            self._roster.remove(ProviderName(name))
            self._stored.pop(name, None)

    def _known(self, name: str) -> Provider:
        provider = self._roster.get(ProviderName(name))
        if provider is None:
            raise NotFound(f"no provider is called {name!r}; `godwit providers` lists them")
        return provider

    def _view(self, name: ProviderName, contacts: Mapping[str, Contact]) -> ProviderView:
        with self._context.db.read() as conn:
            offers, nodes = queries.offers_count(conn, name), len(queries.nodes(conn, provider=name))
        return views.provider(name, offers, nodes, contacts.get(name, Contact()), self.metrics.recent(name))

    def _build(self, kind: Kind, name: str, options: Mapping[str, Any], secrets: Mapping[str, str]) -> Provider:
        setup = Setup(name, self._home, self._context.clock, random.SystemRandom(), options, secrets)
        return registry.layered(kind, setup, self.metrics, self._pacing)


def _refuse_wrong_secrets(kind: Kind, given: Mapping[str, str]) -> None:
    missing = [key for key in kind.secrets if not given.get(key)]
    unknown = [key for key in given if key not in kind.secrets]
    problems = [
        *(Problem(("secrets", key), f"{key} is missing ({kind.secrets[key]})") for key in missing),
        *(Problem(("secrets", key), f"no credential is called {key!r} here", tuple(kind.secrets)) for key in unknown),
    ]
    if problems:
        raise InvalidRequest(problems=problems)


def _row(tx: Transaction, name: str) -> Row[Any] | None:
    return tx.conn.execute(select(schema.providers).where(schema.providers.c.name == name)).first()
