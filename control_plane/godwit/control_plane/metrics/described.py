"""Every metric of a control plane, and what bounds the values of each label. `docs/metrics.md` is made from it."""

from collections.abc import Mapping

from godwit.domain.metrics import Described

BOUNDS: Mapping[str, str] = {
    "action": "kinds of actions of a plan, fewer than 40",
    "broker": "the one of config.yaml, or none",
    "code": "HTTP status codes that routes answer with, fewer than 20",
    "kind": "words of the code: kinds of jobs, intents or events, fewer than 80",
    "loop": "fewer than ten, and one for each configured provider",
    "method": "methods of HTTP, or of the provider protocol, fewer than 20",
    "model": "names of GPU models that godwit knows; any other is `other`",
    "outcome": "`ok` and classes of errors, or what became of a message or connection, fewer than 20",
    "phase": "load, decide, apply",
    "project": "the 100 projects with most in the queue; the rest together are `other`",
    "provider": "providers that are configured or still have a node",
    "route": "templates of routes, fewer than 150; `unmatched` for what fits none, `uncertified` without a certificate",
    "spot": "true, false",
    "state": "states of a lifecycle table, fewer than 15",
    "target": "receivers in config.yaml, 16 at most",
    "use": "held, idle, reserved, unfit, coming, leaving",
    "version": "one",
}
"""Label: what bounds its values. No label holds an id of a job, node or user."""

BUILD = Described("godwit_build_info", "gauge", "Always 1; the version is a label.", ("version",))

LEADS = Described(
    "godwit_leads", "gauge", "1 where this process runs the loops and shows the fleet, 0 where another one does."
)  # fmt: skip

REQUEST_SECONDS = Described(
    "godwit_api_request_duration_seconds", "histogram", "From a request to the head of its answer.", ("route", "method")
)  # fmt: skip
REQUESTS = Described("godwit_api_requests_total", "counter", "Requests answered.", ("route", "method", "code"))

CONNECTIONS = Described("godwit_connections", "gauge", "Connections that are open, but for WebSockets.")
CONNECTIONS_ENDED = Described(
    "godwit_connections_ended_total", "counter", "Idle ones closed for others to come, and others refused.",
    ("outcome",),
)  # fmt: skip

PHASE_SECONDS = Described(
    "godwit_plan_phase_duration_seconds", "histogram", "Parts of one plan: reading, deciding, writing.", ("phase",)
)  # fmt: skip
ACTIONS = Described("godwit_plan_actions_total", "counter", "Actions of plans that were written down.", ("action",))
STEP_SECONDS = Described("godwit_loop_step_duration_seconds", "histogram", "One step of a loop.", ("loop",))
STEP_FAILURES = Described("godwit_loop_failures_total", "counter", "Steps of a loop that raised.", ("loop",))
STEP_AT = Described(
    "godwit_loop_last_step_timestamp_seconds", "gauge", "When a loop last ended a step that did not raise.", ("loop",)
)  # fmt: skip

INTENTS = Described("godwit_intents_pending", "gauge", "Intents that are owed.", ("kind",))
INTENT_AGE = Described(
    "godwit_intents_oldest_age_seconds", "gauge", "Age of the oldest intent that is owed; 0 when none is.", ("kind",)
)  # fmt: skip
INTENTS_ENDED = Described(
    "godwit_intents_ended_total", "counter", "Intents that ended since this process began.", ("kind", "state")
)  # fmt: skip
EVENTS = Described(
    "godwit_events_total", "counter", "Events since this process began, by the state they tell of.", ("kind", "state")
)  # fmt: skip

JOBS = Described("godwit_jobs", "gauge", "Jobs that have not ended.", ("kind", "state"))
QUEUE = Described("godwit_queue_jobs", "gauge", "Jobs that wait to start.", ("project",))
QUEUE_WAIT = Described(
    "godwit_queue_oldest_wait_seconds", "gauge", "How long the job waits that waits longest.", ("project",)
)  # fmt: skip
NODES = Described("godwit_nodes", "gauge", "Nodes that have not ended.", ("provider", "state"))
NODE_AGE = Described(
    "godwit_node_state_age_seconds_max", "gauge", "For how long the node is in a state that is in it longest.",
    ("provider", "state"),
)  # fmt: skip
GPUS = Described("godwit_gpus", "gauge", "GPUs of nodes that have not ended, by use.", ("provider", "model", "use"))
COST = Described(
    "godwit_nodes_usd_per_hour", "gauge", "What the nodes cost that have not ended.", ("provider", "spot")
)  # fmt: skip
SILENCE = Described(
    "godwit_node_heartbeat_age_seconds_max", "gauge", "Since the most silent node that should speak was heard.",
    ("provider",),
)  # fmt: skip
LEASES = Described("godwit_leases", "gauge", "Leases of nodes that may run attempts: valid, expired.", ("state",))
LEASE_LEFT = Described(
    "godwit_lease_remaining_seconds_min", "gauge", "What is left of the shortest valid lease; 0 without any."
)
INCIDENTS = Described("godwit_incidents", "gauge", "Incidents that are not closed.", ("state",))
BREAKER = Described("godwit_breaker_tripped", "gauge", "1 while automation may take no node out of the fleet.")
REPLICAS = Described("godwit_service_replicas", "gauge", "Replicas of services that are not gone.", ("state",))
GATEWAYS = Described("godwit_gateways_heard", "gauge", "Gateways heard within the last minute.")

CALLS = Described(
    "godwit_provider_calls_total", "counter", "Calls to providers.", ("provider", "method", "outcome")
)  # fmt: skip
CALL_SECONDS = Described(
    "godwit_provider_call_duration_seconds_total", "counter", "Time that calls to providers took.",
    ("provider", "method", "outcome"),
)  # fmt: skip
LISTED_AT = Described(
    "godwit_provider_listed_timestamp_seconds", "gauge", "When a provider last listed its instances.", ("provider",)
)  # fmt: skip
OFFERS_AT = Described(
    "godwit_provider_offers_timestamp_seconds", "gauge", "When a provider's offers were last read.", ("provider",)
)  # fmt: skip
FOREIGN = Described(
    "godwit_provider_foreign_instances", "gauge", "Living instances of the account that are not ours.", ("provider",)
)  # fmt: skip

BROKER = Described(
    "godwit_broker_up", "gauge", "1 while the broker takes messages for workers, 0 while it does not.", ("broker",)
)  # fmt: skip
TASKS_WAITING = Described(
    "godwit_tasks_waiting", "gauge", "Messages that no worker has taken, at the last look.", ("broker",)
)  # fmt: skip
TASKS_SENT = Described("godwit_tasks_sent_total", "counter", "Messages to workers: an intent may take several.")
TASKS = Described(
    "godwit_tasks_total", "counter", "Messages that a worker took: carried out, nothing to do, failed.", ("outcome",)
)  # fmt: skip

NOTIFIED = Described(
    "godwit_notifications_total", "counter", "Tries to tell a receiver: delivered, failed, given-up.",
    ("target", "outcome"),
)  # fmt: skip
NOTIFY = Described("godwit_notifications_pending", "gauge", "Messages that a receiver is owed.", ("target",))

SCRAPE_SECONDS = Described(
    "godwit_metrics_collection_duration_seconds", "gauge", "How long these figures took to read."
)

METRICS: tuple[Described, ...] = (
    BUILD, LEADS, REQUEST_SECONDS, REQUESTS, CONNECTIONS, CONNECTIONS_ENDED, PHASE_SECONDS, ACTIONS, STEP_SECONDS,
    STEP_FAILURES, STEP_AT, INTENTS, INTENT_AGE, INTENTS_ENDED, EVENTS, JOBS, QUEUE, QUEUE_WAIT, NODES, NODE_AGE,
    GPUS, COST, SILENCE, LEASES, LEASE_LEFT, INCIDENTS, BREAKER, REPLICAS, GATEWAYS, CALLS, CALL_SECONDS, LISTED_AT,
    OFFERS_AT, FOREIGN, NOTIFIED, NOTIFY, BROKER, TASKS_WAITING, TASKS_SENT, TASKS, SCRAPE_SECONDS,
)  # fmt: skip
