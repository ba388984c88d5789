"""Instances that are not ours: reported once, shown while they are there, and never ended."""

import json
from collections.abc import Sequence

from godwit.control_plane.context import Context
from godwit.control_plane.store import entities, queries, writes
from godwit.domain.events import Event
from godwit.domain.ids import ProviderName
from godwit.domain.offers import Instance, InstanceState

SHOWN = 20
"""Ids that are named in an answer or an event: an account may hold thousands, and a person looks at the first few."""


class Foreigners:
    """The living instances at one provider that carry no mark, or another control plane's.

    `count` and `ids` (the newest, `SHOWN` at the most) are those of the last look. Which have been told of is kept in
    the database, so that neither a look nor a restart tells of them again.
    """

    def __init__(self, context: Context, provider: ProviderName) -> None:
        self._context, self._provider = context, provider
        self._told: frozenset[str] | None = None
        self.count = 0
        self.ids: tuple[str, ...] = ()

    def seen(self, listed: Sequence[Instance]) -> None:
        """Take note of a complete list, and tell of those that are new in it, in one event. Ends nothing."""
        found = [i for i in listed if self._is_foreign(i)]
        newest = sorted(found, key=lambda instance: (-instance.created_at, instance.id))
        self.count, self.ids = len(found), tuple(str(instance.id) for instance in newest[:SHOWN])
        if self._told is None:
            self._told = self._remembered()
        new = [instance for instance in newest if instance.id not in self._told]
        if new:
            self._tell(new, {str(instance.id) for instance in found})

    def _is_foreign(self, instance: Instance) -> bool:
        return instance.owner != self._context.identity and instance.state is not InstanceState.TERMINATED

    def _tell(self, new: Sequence[Instance], present: set[str]) -> None:
        # Only here are those that left forgotten: one that a list drops for a moment is not told of twice.
        with self._context.db.write() as tx:
            writes.replace_meta(tx, self._key, json.dumps(sorted(present)))
            entities.append(tx, self._event(new))
        self._told = frozenset(present)

    def _remembered(self) -> frozenset[str]:
        with self._context.db.read() as conn:
            text = queries.meta(conn, self._key)
        return frozenset(json.loads(text)) if text else frozenset()

    @property
    def _key(self) -> str:
        return f"foreign {self._provider}"

    def _event(self, new: Sequence[Instance]) -> Event:
        which = ", ".join(_named(instance) for instance in new[:SHOWN])
        more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
        what = "an instance" if len(new) == 1 else f"{len(new)} instances"
        reason = f"{what} at {self._provider} not launched by this control plane, left alone: {which}{more}"
        data = {"count": len(new), "instances": [str(instance.id) for instance in new[:SHOWN]]}
        actor = f"provider {self._provider}"
        return Event(self._context.now(), "provider.foreign", "provider", self._provider, reason, actor, data=data)


def _named(instance: Instance) -> str:
    return f"{instance.id} (of {instance.owner})" if instance.owner else str(instance.id)
