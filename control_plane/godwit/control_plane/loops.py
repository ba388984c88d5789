"""The threads of a control plane: planner, executor, services, their measures, notifier, one watch per provider.

Each loop's body is a `step` that is safe to repeat; a loop only decides when. What a step raises is logged and the
loop goes on, since the next step reads the truth again: this is the outermost frame, the only broad except.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog
from godwit.control_plane import hints
from godwit.control_plane.contacts import Contact
from godwit.control_plane.context import Context
from godwit.control_plane.executors.dispatching import Dispatcher
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.notifying.outgoing import Notifying
from godwit.control_plane.notifying.sending import Sender
from godwit.control_plane.reconcilers.instances import InstanceWatch, OfferWatch
from godwit.control_plane.reconcilers.measures import ASK_EVERY_S, Measures
from godwit.control_plane.reconcilers.planning import Planning
from godwit.control_plane.reconcilers.posting import Bookkeeping
from godwit.control_plane.reconcilers.rolling import Rolling
from godwit.control_plane.reconcilers.serving import Serving
from godwit.control_plane.services import budgets, idle_jobs
from godwit.control_plane.store import fleet_rows
from godwit.domain.ids import IntentId
from godwit.domain.nodes import NodeState
from godwit.providers.protocol import Provider

log = structlog.get_logger()

PLAN_AT_LEAST_EVERY_S = 5.0
"""A plan is made this often even if no hint came: hints may be lost, time is not."""

PLAN_SHARE = 0.4
"""The planner uses at most this share of a core while hints pour in; a burst of submissions is planned in batches."""

IDLE_SHARE, IDLE_MOST_S = 0.02, 15.0
"""Looking again where nothing is known to have happened takes at most this share of the time: a fleet of thousands is
looked through more rarely, but as often as this. With 5,000 nodes, planning and lists took a fifth of a core."""

SERVE_AT_LEAST_EVERY_S, SERVE_SHARE = 5.0, 0.1
"""The same for services, of which a control plane without any asks one query."""

NOTIFY_AT_LEAST_EVERY_S, NOTIFY_PAUSE_S = 5.0, 1.0
"""The same for receivers outside, and the pause between two looks."""

BOOKS_EVERY_S = 30.0
"""How often it is looked whether hours are to be closed, and whether budgets have passed a share."""

EXECUTE_AGAIN_S = 1.0
"""Pause after the database could not be read for intents: a restart of it takes seconds."""

EXECUTORS = 8
"""Provider calls under way at once; they wait on the network, not on this machine."""

LIST_BUSY_S, LIST_CALM_S, LIST_EMPTY_S = 0.5, 2.0, 15.0
"""Pauses between lists of a provider: while nodes change state there, while they only run, while there are none."""

LIST_SHARE = 0.2
"""Lists of a large fleet take at most this share of the time, as long as that is a pause of `LIST_CALM_S` at most."""

_CALM = frozenset({NodeState.READY, NodeState.CORDONED})


class Loops:
    """Starts and stops the threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._measures = Measures(context)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watches: dict[str, tuple[InstanceWatch, OfferWatch]] = {}

    def contacts(self) -> Mapping[str, Contact]:
        """How the last look at each provider went."""
        return {name: _contact(*watches) for name, watches in dict(self._watches).items()}

    def start(self) -> None:
        """Start every loop."""
        bodies: list[tuple[str, Callable[[], None]]] = [
            ("planner", self._plan),
            ("executor", self._execute if self._context.courier is None else self._dispatch),
            ("services", self._serve),
            ("ledger", self._keep_books),
        ]
        if self._context.prometheus:
            bodies.append(("measures", self._measure))
        if self._context.targets:
            bodies.append(("notifier", self._notify))
        for name, body in bodies:
            self._run(name, body)
        for provider in self._context.providers.values():
            self.watch(provider)

    def watch(self, provider: Provider) -> None:
        """Watch a provider, for as long as it is configured."""
        watch, offers = InstanceWatch(self._context, provider), OfferWatch(self._context, provider)
        self._watches[provider.name] = watch, offers
        self._run(f"watch-{provider.name}", self._watching(provider, watch, offers))

    def _run(self, name: str, body: Callable[[], None]) -> None:
        def run() -> None:
            body()
            self._context.instruments.ended(name)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop every loop; a call to a provider that hangs is left behind, as after a crash."""
        self._stopping.set()
        for topic in (hints.PLAN, hints.INTENTS, hints.PROVIDERS, hints.EVENTS):
            self._context.hints.announce(topic)
        for thread in self._threads:
            thread.join(timeout_s)

    def _plan(self) -> None:
        context, planning = self._context, Planning(self._context)
        while not self._stopping.is_set():
            seen, began, worked = context.hints.count(hints.PLAN), context.now(), time.thread_time()
            pause_s = PLAN_AT_LEAST_EVERY_S
            try:
                with context.instruments.step("planner"):
                    wake_at = planning.step().wake_at
                pause_s = idle_pause_s(time.thread_time() - worked, PLAN_AT_LEAST_EVERY_S)
                pause_s = pause_s if wake_at is None else min(pause_s, wake_at - context.now())
            except Exception:
                log.exception("planning failed")
            took_s = max(0.0, context.now() - began)
            self._stopping.wait(max(0.01, took_s * (1 / PLAN_SHARE - 1)))
            context.hints.wait(hints.PLAN, seen, max(0.01, pause_s))

    def _serve(self) -> None:
        context, serving = self._context, Serving(self._context, self._measures.latest)
        while not self._stopping.is_set():
            seen, began, pause_s = context.hints.count(hints.EVENTS), context.now(), SERVE_AT_LEAST_EVERY_S
            try:
                with context.instruments.step("services"):
                    wake_at = serving.step()
                pause_s = pause_s if wake_at is None else min(pause_s, wake_at - context.now())
            except Exception:
                log.exception("looking after services failed")
            took_s = max(0.0, context.now() - began)
            self._stopping.wait(max(0.05, took_s * (1 / SERVE_SHARE - 1)))
            context.hints.wait(hints.EVENTS, seen, max(0.01, pause_s))

    def _notify(self) -> None:
        context, notifying = self._context, Notifying(self._context, Sender().send)
        while not self._stopping.is_set():
            seen, pause_s = context.hints.count(hints.EVENTS), NOTIFY_AT_LEAST_EVERY_S
            try:
                with context.instruments.step("notifier"):
                    wake_at = notifying.step()
                pause_s = pause_s if wake_at is None else min(pause_s, wake_at - context.now())
            except Exception:
                log.exception("telling receivers failed")
            # Events may come by the hundred a second; a message may wait for one.
            self._stopping.wait(NOTIFY_PAUSE_S)
            context.hints.wait(hints.EVENTS, seen, max(0.01, pause_s))

    def _keep_books(self) -> None:
        context, books, rolling = self._context, Bookkeeping(self._context), Rolling(self._context)
        while not self._stopping.wait(BOOKS_EVERY_S):
            try:
                with context.instruments.step("ledger"):
                    rolling.step()
                    idle_jobs.step(context)
                    books.step()
                    budgets.step(context)
            except Exception:
                log.exception("keeping the ledger failed")

    def _measure(self) -> None:
        while not self._stopping.wait(ASK_EVERY_S):
            try:
                self._measures.step()
            except Exception:
                log.exception("asking for measures failed")

    def _execute(self) -> None:
        executor, under_way, resumed = Executor(self._context), set[IntentId](), False

        def carry_out(intent_id: IntentId) -> None:
            try:
                executor.carry_out(intent_id)
            except Exception:
                log.exception("an intent failed", intent=intent_id)
            finally:
                under_way.discard(intent_id)
                self._context.hints.announce(hints.INTENTS)

        with ThreadPoolExecutor(EXECUTORS, thread_name_prefix="executor") as pool:
            while not self._stopping.is_set():
                seen = self._context.hints.count(hints.INTENTS)
                try:
                    with self._context.instruments.step("executor"):
                        if not resumed:
                            executor.resume()
                            resumed = True
                        for intent_id in [i for i in executor.due() if i not in under_way]:
                            under_way.add(intent_id)
                            pool.submit(carry_out, intent_id)
                        due_at = None if under_way else executor.next_due_at()
                except Exception:
                    log.exception("looking for intents failed")
                    self._stopping.wait(EXECUTE_AGAIN_S)
                    continue
                left_s = 5.0 if due_at is None else due_at - self._context.now()
                self._context.hints.wait(hints.INTENTS, seen, min(5.0, max(0.05, left_s)))

    def _dispatch(self) -> None:
        if self._context.courier is not None:
            Dispatcher(self._context, self._context.courier).run(self._stopping)

    def _watching(self, provider: Provider, watch: InstanceWatch, offers: OfferWatch) -> Callable[[], None]:
        instruments, name = self._context.instruments, f"watch-{provider.name}"

        def body() -> None:
            offers_at = 0.0
            while not self._stopping.is_set() and self._context.providers.get(provider.name) is provider:
                seen, began, worked = self._context.hints.count(hints.PROVIDERS), time.monotonic(), time.thread_time()
                try:
                    if self._context.now() >= offers_at:
                        # Before the step: should it fail, machines must be watched all the same.
                        offers_at = self._context.now() + self._context.policy.offers_every_s
                        offers.step()
                    with instruments.step(name):
                        watch.step()
                        pause_s = self._pause_s(provider, time.thread_time() - worked)
                except Exception:
                    log.exception("watching a provider failed", provider=provider.name)
                    pause_s = LIST_CALM_S
                took_s = time.monotonic() - began
                if self._stopping.wait(max(LIST_BUSY_S, min(LIST_CALM_S, took_s * (1 / LIST_SHARE - 1)))):
                    return
                if pause_s > LIST_BUSY_S:
                    self._context.hints.wait(hints.PROVIDERS, seen, pause_s - LIST_BUSY_S)

        return body

    def _pause_s(self, provider: Provider, worked_s: float) -> float:
        with self._context.db.read() as conn:
            standings = fleet_rows.standings_of(conn, provider.name)
        if not standings:
            return LIST_EMPTY_S
        is_calm = all(state in _CALM and not gone for state, gone in standings)
        return idle_pause_s(worked_s, LIST_CALM_S) if is_calm else LIST_BUSY_S


def idle_pause_s(worked_s: float, least_s: float) -> float:
    """For how long to leave alone what took `worked_s` of CPU time to look through, and where nothing seems to happen.

    Waiting for a cloud or a busy machine is no work, and makes nothing rarer.
    """
    return max(least_s, min(IDLE_MOST_S, worked_s * (1 / IDLE_SHARE - 1)))


def _contact(watch: InstanceWatch, offers: OfferWatch) -> Contact:
    waiting = "" if watch.last_contact_at else "not contacted yet"
    return Contact(
        watch.last_contact_at, watch.trouble or waiting, offers.refreshed_at, offers.trouble, offers.trouble_since,
        watch.foreign.count, watch.foreign.ids,
    )  # fmt: skip
