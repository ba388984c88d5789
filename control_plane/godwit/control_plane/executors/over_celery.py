"""The only place that knows Celery: messages with an intent's id to workers, and the worker that takes them.

A message is a wake-up. It may be lost, doubled or late: the row of the intent decides what is done (decision 0030).
"""

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery
from godwit.control_plane.executors.brokers import Broker, BrokerAway
from godwit.domain.ids import IntentId
from kombu import Connection, Queue
from kombu.exceptions import KombuError

log = structlog.get_logger()

TASK = "godwit.carry_out"

CONNECT_S, ANSWER_S = 4.0, 10.0
"""A broker that takes longer to connect or to answer is away."""

VISIBILITY_S = 120
"""When Redis hands out again what a worker took and did not acknowledge. Nothing rests on it: the control plane sends
again within seconds, and which of the two is late finds nothing to do."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_SETTINGS: dict[str, Any] = {
    # Nothing but text is taken from a broker, which others may write to.
    "task_serializer": "json",
    "accept_content": ["json"],
    "event_serializer": "json",
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_default_delivery_mode": "transient",  # no broker need write down what rows know
    "worker_prefetch_multiplier": 1,
    # Whoever may write to the broker could end workers with it.
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "broker_connection_timeout": CONNECT_S,
    # A worker outlives its broker: it tries for as long as it runs, with pauses that grow to half a minute.
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
}


def _app(broker: Broker, queue: str, options: dict[str, Any]) -> Celery:
    app = Celery(
        "godwit", broker=broker.url, backend=None, set_as_current=False, loader="celery.loaders.default:Loader"
    )
    app.conf.update(_SETTINGS)
    app.conf.update(task_default_queue=queue, task_queues=[_queue(queue)], broker_transport_options=options)
    return app


def _queue(name: str) -> Queue:
    return Queue(name, durable=True, routing_key=name)


def queue_of(identity: str) -> str:
    """The queue of one database, so that several may share a broker."""
    return f"godwit-executors-{identity}"


class OverCelery:
    """A `brokers.Courier`. Callable from any thread; a connection that failed is made anew by the next call."""

    def __init__(self, broker: Broker, identity: str) -> None:
        self._broker, self._name = broker, queue_of(identity)
        options: dict[str, Any] = {"visibility_timeout": VISIBILITY_S}
        if broker.url.startswith("redis"):
            options |= {"socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S}
        else:
            # That a message was written to a socket says nothing: RabbitMQ confirms what it has.
            options |= {"confirm_publish": True, "read_timeout": ANSWER_S, "write_timeout": ANSWER_S}
        self._app = _app(broker, self._name, options)
        never = self._app.connection_for_write()  # not opened; it knows what its driver raises
        self._errors = (KombuError, OSError, *never.connection_errors, *never.channel_errors)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._producer: Any = None

    @property
    def where(self) -> str:
        """The broker, as it may be shown."""
        return self._broker.shown

    def waiting(self) -> int:
        """How many messages no worker has taken yet; makes the queue at the first call. Raises `BrokerAway`."""
        count: int = self._asked(lambda to: _queue(self._name)(to.channel).queue_declare().message_count)
        return count

    def send(self, intent_id: IntentId) -> None:
        """Tell some worker that this intent is due. Raises `BrokerAway`, and then it may have been told."""
        self._asked(lambda to: self._app.send_task(TASK, args=[intent_id], producer=to, retry=False))

    def _asked(self, ask: Callable[[Any], Any]) -> Any:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._app.connection_for_write()
                    self._producer = self._app.amqp.Producer(self._connection)
                return ask(self._producer)
            except self._errors as exc:
                self._let_go()
                # Its words may quote the URL, with the password in it.
                raise BrokerAway(type(exc).__name__) from None

    def close(self) -> None:
        """Let go of the connection; the next call makes another."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            with suppress(*self._errors):
                connection.release()


def work(broker: Broker, identity: str, carry_out: Callable[[IntentId], None], concurrency: int) -> None:
    """Take messages until the process is told to end, then end what is under way. Blocks; only in the main thread.

    `carry_out` runs in up to `concurrency` threads; what it raises is logged, and its message is not taken again.
    """
    app = _app(broker, queue_of(identity), {"visibility_timeout": VISIBILITY_S})

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def carry(intent_id: object) -> None:
        if not isinstance(intent_id, str) or not _ID.fullmatch(intent_id):
            log.warning("a message names no intent; it is dropped")
            return
        try:
            carry_out(IntentId(intent_id))
        except Exception:
            # The control plane sends it again for as long as it is owed.
            log.exception("an intent failed", intent=intent_id)

    app.Worker(
        pool="threads", concurrency=concurrency, loglevel="WARNING", quiet=True,
        without_gossip=True, without_mingle=True, without_heartbeat=True,
    ).start()  # fmt: skip
