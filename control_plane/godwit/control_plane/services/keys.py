"""What people do with API keys: make one, list them, remove one. Gateways learn of it with the routes."""

from godwit.control_plane import hints, keyring
from godwit.control_plane.context import Context
from godwit.control_plane.store import entities, routing, tenancy
from godwit.domain.errors import Conflict, InvalidRequest, NotFound, Problem
from godwit.domain.events import Event
from godwit.domain.wire.keys import KeyIn, KeyMade, KeyView
from godwit.domain.wire.routes import KEYS_MAX, KeyRoute


def make(context: Context, wanted: KeyIn, actor: str) -> KeyMade:
    """Make a key; its text is in the answer and nowhere else. Raises `InvalidRequest` for a project there is not."""
    now, text = context.now(), keyring.new_token()
    key_id = context.ids.new("key")
    key = KeyRoute(id=key_id, sha256=keyring.digest(text), **wanted.model_dump())
    with context.db.write() as tx:
        if tenancy.find(tx.conn, wanted.project) is None:
            raise InvalidRequest(problems=[Problem(("project",), f"there is no project {wanted.project!r}")])
        if len(routing.keys(tx.conn)) >= KEYS_MAX:
            raise Conflict(f"there are {KEYS_MAX} keys already, the most that there can be; remove one first")
        routing.add_key(tx, key, now)
        reason = f"made by {actor} for {', '.join(wanted.services) or 'all services'}"
        entities.append(tx, Event(now, "key.made", "project", wanted.project, reason, actor, data={"key": key_id}))
    return KeyMade(id=key_id, text=text, **wanted.model_dump())


def listed(context: Context, limit: int, after: str | None) -> list[KeyView]:
    """A page of keys, the oldest first, without their texts."""
    with context.db.read() as conn:
        found = [key for key in routing.keys(conn) if after is None or key.id > after][:limit]
    return [KeyView(**key.model_dump(exclude={"sha256"})) for key in found]


def remove(context: Context, key_id: str, actor: str) -> None:
    """Remove a key: gateways refuse it once they have the next routes. Raises `NotFound`."""
    with context.db.write() as tx:
        if not routing.remove_key(tx, key_id):
            raise NotFound(f"there is no key {key_id!r}; `godwit keys` lists them")
        tx.hint(hints.EVENTS)
        entities.append(tx, Event(context.now(), "key.removed", "key", key_id, f"removed by {actor}", actor))
