"""Machines with our mark of which a restored database knows nothing: told of, then back as nodes, ended or kept.

Without a restore there are none: a purchase is written down before it is made, so whatever carries our mark and no
known token is a leak, and is ended at once.
"""

from collections.abc import Sequence

from godwit.control_plane.context import Context
from godwit.control_plane.store import entities, restored
from godwit.control_plane.store.restored import Orphan, Restored
from godwit.domain.events import Event
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState

RETURN_S = 60.0
"""For how long after a start no orphan is ended: agents that live have asked to join by then."""

SHOWN = 20
"""Ids that are named in one event."""

EVENT = "node.unknown"


class Orphans:
    """Those at one provider."""

    def __init__(self, context: Context, provider: ProviderName) -> None:
        self._context, self._provider = context, provider

    def spared(self, unknown: Sequence[Instance]) -> frozenset[InstanceId]:
        """Take note of the machines of a complete list whose tokens nobody knows; returns those not to be ended now."""
        with self._context.db.read() as conn:
            last, known = restored.find(conn), restored.orphans(conn, self._provider)
        if last is None:
            return frozenset()
        living = [i for i in unknown if i.state is not InstanceState.STOPPING]
        newest = sorted(living, key=lambda instance: (-instance.created_at, instance.id))[: restored.ORPHANS_MAX]
        found = [restored.orphan_of(instance) for instance in newest]
        if found != known:
            self._tell(last, found, {orphan.id for orphan in known or ()})
        end_at, now = last.orphans_end_at, self._context.now()
        if end_at is not None and now >= max(end_at, self._context.serving_since + RETURN_S):
            return frozenset()
        return frozenset(instance.id for instance in unknown)

    def _tell(self, last: Restored, found: Sequence[Orphan], told: set[str]) -> None:
        new = [orphan for orphan in found if orphan.id not in told]
        with self._context.db.write() as tx:
            restored.put_orphans(tx, self._provider, found)
            if new:
                entities.append(tx, self._event(last, new))

    def _event(self, last: Restored, new: Sequence[Orphan]) -> Event:
        ids = [orphan.id for orphan in new[:SHOWN]]
        more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
        then = (
            "kept: `godwit orphans --end` ends it"
            if last.orphans_end_at is None
            else f"ended in {max(0.0, last.orphans_end_at - self._context.now()):.0f} s"
        )
        reason = (
            f"bought at {self._provider} after the backup that the database came from: {', '.join(ids)}{more}; "
            f"a machine whose agent comes back is a node again, any other is {then}"
        )
        actor = f"provider {self._provider}"
        data = {"count": len(new), "instances": ids}
        return Event(self._context.now(), EVENT, "provider", self._provider, reason, actor, data=data)
