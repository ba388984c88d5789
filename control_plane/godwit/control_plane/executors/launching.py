"""Carries out intents that are owed to providers. No machine is paid for without a row that knows of it.

The rules that make it so, in order:
1. an attempt to launch is counted in the database *before* the call, so a crash in between is known of later;
2. whoever tries again looks for the launch token among the provider's instances first;
3. an answer of unknown outcome ends nothing: the intent stays owed until the list has shown what became of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import structlog
from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.executors import bootstrap
from godwit.control_plane.executors.claims import Claim, Claims
from godwit.control_plane.executors.dispatching import STANDING
from godwit.control_plane.store import entities, queries, writes
from godwit.control_plane.store.database import Transaction
from godwit.control_plane.tracing import carried_out
from godwit.domain import tracing
from godwit.domain.drills import Drill
from godwit.domain.errors import (
    CredentialsRejected,
    NoCapacity,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
    StaleWrite,
    UnknownOutcome,
)
from godwit.domain.ids import IntentId
from godwit.domain.intents import FOR_PROVIDERS, Intent, IntentKind, IntentState
from godwit.domain.nodes import Node, NodeState
from godwit.domain.offers import Instance
from godwit.providers.protocol import FaultPanel, LaunchRequest, Provider
from godwit.scheduler.snapshot import Hold
from godwit.scheduler.trust import Record

log = structlog.get_logger()

ACTOR = "executor"
MAX_TRIES = 8
"""Tries to reach a provider for a launch before the next offer gets its chance: with the backoff, about a minute."""

LIST_LAG_S = 60.0
"""For how long after its end a launch of unknown outcome may still appear in a provider's list. EC2's API reference
("eventual consistency") speaks of seconds to a few minutes; what appears even later is ended by the sweeper."""

LAUNCH_LAG_S = 10.0
"""For how long a launch that was perhaps carried out is looked for before it is asked for again: lists lag by seconds,
and not every cloud has client tokens that make the second call harmless."""

ASKED_AT = "asked_at"
"""In a launch's payload: since when it is not known whether the call was made and took effect."""

REFUSALS = (NoCapacity, QuotaExceeded, RequestRejected, CredentialsRejected)
"""Errors after which it is certain that nothing was created and that repeating is useless."""


def backoff_s(tries: int) -> float:
    """Pause before the next try: 0.5 s doubling to 30 s."""
    return float(min(30.0, 0.5 * 2 ** min(tries, 10)))


def _may_turn_up(launch: Intent, now: float) -> bool:
    asked_at = launch.payload.get(ASKED_AT)
    return asked_at is not None and now - float(asked_at) < LAUNCH_LAG_S


def _asked(launch: Intent, now: float) -> Mapping[str, Any]:
    """The payload of a launch whose outcome is not known: since now, unless an earlier call still is in doubt."""
    return launch.payload if _may_turn_up(launch, now) else {**launch.payload, ASKED_AT: now}


class Executor:
    """Carries out one intent at a time; several threads may run it on different intents, several processes on any."""

    def __init__(self, context: Context, claims: Claims | None = None) -> None:
        self._context = context
        self._claims = claims or Claims(context.db, leads=context.leads)
        self._effects: Mapping[IntentKind, Callable[[Claim, Node, Provider], None]] = {
            IntentKind.LAUNCH_NODE: self._launch,
            IntentKind.TERMINATE_NODE: self._terminate,
            IntentKind.DRILL: self._drill,
        }

    def due(self) -> list[IntentId]:
        """Intents whose time has come, oldest first."""
        now = self._context.now()
        with self._context.db.read() as conn:
            return [i.id for i in queries.pending_intents(conn, FOR_PROVIDERS) if i.not_before <= now]

    def resume(self) -> None:
        """Take up what a dead predecessor had begun, and no worker. Only for who leads, before it starts."""
        with self._context.db.write() as tx:
            writes.replace_meta(tx, STANDING, "{}")  # nobody waits for workers any more
            for intent in queries.pending_intents(tx.conn, FOR_PROVIDERS):
                if not intent.holder:
                    entities.save(tx, replace(intent, not_before=self._context.now()))

    def next_due_at(self) -> float | None:
        """When the next intent comes due; None when none is owed."""
        with self._context.db.read() as conn:
            return min((i.not_before for i in queries.pending_intents(conn, FOR_PROVIDERS)), default=None)

    def carry_out(self, intent_id: IntentId) -> bool:
        """Carry one intent out if it is owed, due and held by nobody; whether it was. Done twice, it happens once."""
        try:
            begun = self._begin(intent_id)
            if begun is None:
                return False
            claim, node = begun
            intent = claim.intent
            provider = self._context.providers.get(node.offer.provider)
            if provider is None:
                self._unconfigured(intent, node)
                return True
            trace_id = tracing.of_work(intent.job_id or node.reserved_for, node.id)
            told = {"godwit.intent": intent.id, "godwit.node": node.id, "godwit.reason": intent.reason[:300]}
            with carried_out(self._context.spans, intent.kind, trace_id, told), self._claims.holding(claim):
                self._effects[intent.kind](claim, node, provider)
        except StaleWrite as stale:
            log.debug("the intent was changed meanwhile; its new state decides", intent=intent_id, why=stale.message)
            return False
        return True

    def _begin(self, intent_id: IntentId) -> tuple[Claim, Node] | None:
        """Count the try before anything happens; the claim's intent still says how often it was tried *before*."""
        with self._context.db.write() as tx:
            intent = queries.intent(tx.conn, intent_id)
            now = self._context.now()
            payload = _asked(intent, now) if intent.kind is IntentKind.LAUNCH_NODE else intent.payload
            claim = self._claims.take(tx, replace(intent, tries=intent.tries + 1, payload=payload), now)
            if claim is None:
                return None
            # As it was before: what is not known of earlier tries is what decides about this one.
            claim.intent = replace(claim.intent, tries=intent.tries, payload=intent.payload)
            return claim, queries.node(tx.conn, intent.node_id)

    def _launch(self, claim: Claim, node: Node, provider: Provider) -> None:
        intent = claim.intent
        try:
            instance = self._find(provider, intent.id) if intent.tries else None
            if instance is None and intent.tries >= MAX_TRIES:
                self._refused(intent, node, f"not launched after {intent.tries} tries: {intent.detail}")
                return
            if instance is None and _may_turn_up(intent, self._context.now()):
                self._put_off(intent, UnknownOutcome("the launch may yet turn up in the provider's list"))
                return
            if instance is None:
                request = self._request(intent, node)
                claim.check()
                instance = provider.launch(request)
        except REFUSALS as refusal:
            self._refused(intent, node, refusal.message)
        except ProviderError as error:
            if intent.tries >= MAX_TRIES:
                # What a call in doubt may have bought meanwhile is ended by the sweeper, once the provider is back.
                self._refused(intent, node, f"not launched after {intent.tries} tries: {error.message}")
                return
            self._put_off(intent, error)
        else:
            self._launched(intent, node, instance)

    def _request(self, intent: Intent, node: Node) -> LaunchRequest:
        join_token = self._context.keyring.join_token(node.id, intent.id)
        url, package = self._context.url, self._context.agent_package
        has_tls = self._context.agents_tls is not None
        script = bootstrap.startup_script(url, join_token, package, spot=node.offer.spot, tls=has_tls)
        return LaunchRequest(node.offer, intent.id, self._context.identity, script)

    def _find(self, provider: Provider, token: str) -> Instance | None:
        return next((i for i in provider.instances() if i.token == token), None)

    def _launched(self, intent: Intent, node: Node, instance: Instance) -> None:
        now = self._context.now()
        with self._context.db.write() as tx:
            self._done(tx, intent, f"instance {instance.id}", now)
            node = queries.node(tx.conn, node.id)
            if node.instance_id is None:
                node = entities.save(tx, replace(node, instance_id=instance.id))
            if node.state is NodeState.REQUESTED:
                reason = f"{node.offer.provider} accepted the launch as {instance.id}"
                entities.advance(tx, node, NodeState.PROVISIONING, reason=reason, actor=ACTOR, now=now)
            tx.hint(hints.PROVIDERS)

    def _refused(self, intent: Intent, node: Node, why: str) -> None:
        now = self._context.now()
        with self._context.db.write() as tx:
            intent = replace(intent, tries=intent.tries + 1, detail=why)
            entities.advance(tx, intent, IntentState.FAILED, reason=why, actor=ACTOR, now=now)
            writes.hold(tx, Hold(node.offer.key, now + self._context.policy.hold_s, f"refused: {why}"))
            writes.experience(tx, node.offer, Record(refusals=1))
            node = queries.node(tx.conn, node.id)
            if node.state is NodeState.REQUESTED:
                entities.advance(tx, replace(node, detail=why), NodeState.FAILED, reason=why, actor=ACTOR, now=now)

    def _terminate(self, claim: Claim, node: Node, provider: Provider) -> None:
        intent = claim.intent
        try:
            instance_id = node.instance_id
            if instance_id is None:
                launches = self._launches(node)
                found = [i for i in provider.instances() if i.token in launches]
                if not found:
                    self._never_was(intent, node)
                    return
                instance_id = found[0].id
            provider.terminate(instance_id)
        except ProviderError as error:
            self._put_off(intent, error)
            return
        now = self._context.now()
        with self._context.db.write() as tx:
            self._done(tx, intent, f"asked {node.offer.provider} to end {instance_id}", now)
            node = queries.node(tx.conn, node.id)
            if node.instance_id is None:
                entities.save(tx, replace(node, instance_id=instance_id))
            tx.hint(hints.PROVIDERS)

    def _launches(self, node: Node) -> set[str]:
        with self._context.db.read() as conn:
            return {i.id for i in queries.intents_of(conn, node.id, IntentKind.LAUNCH_NODE) if i.tries}

    def _never_was(self, intent: Intent, node: Node) -> None:
        """No instance carries the node's token. Believed at once if no launch was tried, else after a while."""
        tried = bool(self._launches(node))
        now = self._context.now()
        if tried and now - node.state_since < LIST_LAG_S:
            self._put_off(intent, UnknownOutcome("the launch may yet turn up in the provider's list"))
            return
        with self._context.db.write() as tx:
            self._done(tx, intent, "no instance carries its token", now)
            node = queries.node(tx.conn, node.id)
            if node.state is NodeState.TERMINATING:
                reason = "no machine was ever launched for it"
                entities.advance(tx, node, NodeState.TERMINATED, reason=reason, actor=ACTOR, now=now)

    def _drill(self, claim: Claim, node: Node, provider: Provider) -> None:
        intent = claim.intent
        kind, gpu = Drill(intent.payload["kind"]), intent.payload["gpu"]
        if kind not in provider.capabilities.drills or node.instance_id is None:
            self._finish(intent, IntentState.FAILED, f"{node.offer.provider} cannot be drilled")
            return
        try:
            claim.check()
            cast("FaultPanel", provider).drill(node.instance_id, kind, gpu)
        except REFUSALS as refusal:
            self._finish(intent, IntentState.FAILED, refusal.message)
        except ProviderError as error:
            self._put_off(intent, error)
        else:
            self._finish(intent, IntentState.DONE, f"{kind} on {node.instance_id}")

    def _unconfigured(self, intent: Intent, node: Node) -> None:
        why = f"provider {node.offer.provider} is not configured any more"
        if intent.kind is IntentKind.LAUNCH_NODE:
            self._refused(intent, node, why)
        else:
            self._finish(intent, IntentState.FAILED, why)

    def _put_off(self, intent: Intent, error: ProviderError) -> None:
        now = self._context.now()
        pause = error.retry_after_s if isinstance(error, RateLimited) else backoff_s(intent.tries)
        unknown = isinstance(error, UnknownOutcome) and intent.kind is IntentKind.LAUNCH_NODE
        payload = _asked(intent, now) if unknown else intent.payload
        intent = replace(intent, tries=intent.tries + 1, not_before=now + pause, detail=error.message, payload=payload)
        intent = replace(intent, holder="")
        with self._context.db.write() as tx:
            entities.save(tx, intent)
            tx.hint(hints.INTENTS)

    def _finish(self, intent: Intent, to: IntentState, why: str) -> None:
        with self._context.db.write() as tx:
            intent = replace(intent, tries=intent.tries + 1, detail=why)
            entities.advance(tx, intent, to, reason=why, actor=ACTOR, now=self._context.now())

    def _done(self, tx: Transaction, intent: Intent, why: str, now: float) -> None:
        intent = replace(intent, tries=intent.tries + 1, detail=why)
        entities.advance(tx, intent, IntentState.DONE, reason=why, actor=ACTOR, now=now)
