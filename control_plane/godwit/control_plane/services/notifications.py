"""Receivers outside: how they do, a message to try one, and another chance for what was given up."""

from godwit.control_plane import hints
from godwit.control_plane.context import Context
from godwit.control_plane.notifying import messages
from godwit.control_plane.notifying.sending import Send
from godwit.control_plane.notifying.targets import Target
from godwit.control_plane.store import outbox
from godwit.domain.errors import NotFound
from godwit.domain.wire.notifications import ResentView, TargetView, TrialView


def overview(context: Context) -> list[TargetView]:
    """Every receiver of config.yaml, in its order."""
    with context.db.read() as conn:
        standing = outbox.standing(conn)
        details = outbox.last_details(conn, [target.name for target in context.targets])
    return [
        TargetView(
            name=of.name, kind=of.kind, host=of.host, topics=sorted(of.topics), projects=list(of.projects),
            signed=bool(of.secret), pending=standing.get(of.name, (0, 0))[0], given_up=standing.get(of.name, (0, 0))[1],
            detail=details.get(of.name, ""),
        )
        for of in context.targets
    ]  # fmt: skip


def try_one(context: Context, send: Send, name: str) -> TrialView:
    """Send one message now, past the outbox; blocks for some seconds at most. Raises `NotFound`."""
    target, now = _find(context, name), context.now()
    delivery = context.ids.new("notice")
    answer = send(target, delivery, messages.trial(delivery, target, context.identity, now), now)
    return TrialView(target=name, delivered=answer.delivered, detail=answer.detail)


def resend(context: Context, name: str) -> ResentView:
    """Owe a receiver again what was given up. Raises `NotFound`."""
    _find(context, name)
    with context.db.write() as tx:
        count = outbox.revive(tx, name, context.now())
        tx.hint(hints.EVENTS)
    return ResentView(target=name, count=count)


def _find(context: Context, name: str) -> Target:
    found = next((target for target in context.targets if target.name == name), None)
    if found is None:
        known = ", ".join(target.name for target in context.targets) or "none"
        raise NotFound(f"config.yaml names no receiver {name!r} under notifications (known: {known})")
    return found
