"""The loops of one process of the control plane, stepped by hand; a step that fails is tried again, as in `loops`."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from godwit.control_plane.context import Context
from godwit.control_plane.executors.brokers import BrokerAway
from godwit.control_plane.executors.dispatching import Dispatcher
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.hints import PLAN
from godwit.control_plane.reconcilers.instances import InstanceWatch, OfferWatch
from godwit.control_plane.reconcilers.planning import Planning
from godwit.control_plane.store import queries
from godwit.domain.errors import StaleWrite
from godwit.domain.ids import IntentId
from sqlalchemy.exc import OperationalError

REFUSED = (StaleWrite, OperationalError)
"""What a request is answered with an error for, and what a loop logs and goes on after: another writer was first or
leads, or the disk is full."""

OFFERS_EVERY_S, LIST_EVERY_S, LIST_EMPTY_S, PLAN_EVERY_S = 15.0, 2.0, 8.0, 5.0


class Loops:
    """Planner, executor and watches. They belong to one process, and go on as they are when another one takes over.

    `more` are other loops of this process, each stepped once a second.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._executor = Executor(context)
        self._dispatcher = None if context.courier is None else Dispatcher(context, context.courier)
        self._planning = Planning(context)
        self._watches = [InstanceWatch(context, p) for p in context.providers.values()]
        self._offers = [OfferWatch(context, p) for p in context.providers.values()]
        self._offers_at, self._planned_count, self._wake_at = 0.0, -1, 0.0
        self._list_at = [0.0 for _ in self._watches]
        self.more: list[Callable[[], object]] = []
        self._resumed = False

    def second(self) -> None:
        """Everything that a second brings."""
        for body in (self._resume, self._sell, self._plan, self._execute, self._watch, *self.more):
            with suppress(*REFUSED):
                body()

    def _resume(self) -> None:
        if not self._resumed:
            self._executor.resume()
            self._resumed = True

    def _sell(self) -> None:
        now = self.context.now()
        if now >= self._offers_at:
            for offers in self._offers:
                offers.step()
            self._offers_at = now + OFFERS_EVERY_S

    def _plan(self) -> None:
        now, count = self.context.now(), self.context.hints.count(PLAN)
        if count != self._planned_count or now >= self._wake_at:
            plan = self._planning.step()
            self._planned_count = count
            self._wake_at = min(now + PLAN_EVERY_S, plan.wake_at or now + PLAN_EVERY_S)

    def _execute(self) -> None:
        if self._dispatcher is None:
            each(self._executor.due(), self._executor.carry_out)
            return
        with suppress(BrokerAway):  # it is tried again, with pauses
            self._dispatcher.step()

    def _watch(self) -> None:
        now = self.context.now()
        for number, watch in enumerate(self._watches):
            if now >= self._list_at[number]:
                with suppress(*REFUSED):
                    watch.step()
                self._list_at[number] = now + (LIST_EVERY_S if self._has_nodes(number) else LIST_EMPTY_S)

    def _has_nodes(self, number: int) -> bool:
        name = list(self.context.providers)[number]
        with self.context.db.read() as conn:
            return bool(queries.nodes(conn, provider=name))


def each(intent_ids: Sequence[IntentId], carry_out: Callable[[IntentId], object]) -> None:
    """Carry these out, as threads do: one that fails keeps no other back."""
    for intent_id in intent_ids:
        with suppress(*REFUSED):
            carry_out(intent_id)
