"""The tables of health: what checks found, what is wrong, what is remembered of devices, and what was ordered."""

from godwit.control_plane.store.schema import metadata
from sqlalchemy import Boolean, Column, Float, Index, Integer, String, Table, Text

findings = Table(
    "findings",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("node_id", String(64), nullable=False),
    Column("at", Float, nullable=False, index=True),
    Column("check", String(128), nullable=False),
    Column("grade", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("code", String(128), nullable=False),
    Column("suggested", String(32), nullable=False),
    Column("gpu", String(128)),
    Column("attempt_id", String(128)),
    Column("job_id", String(64)),
    Column("boot_id", String(128), nullable=False),
    Column("evidence", Text, nullable=False),
    # What was decided; the rest of the row never changes.
    Column("decided", Boolean, nullable=False),
    Column("incident_id", String(128)),
    Column("remedy", String(32)),
    Column("rule", String(128)),
    Column("decision", Text),
    Index(None, "decided", "at"),
    Index(None, "node_id", "at"),
    Index(None, "incident_id", "at"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("node_id", String(64), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("check", String(128), nullable=False),
    Column("code", String(128), nullable=False),
    Column("rule", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("remedy", String(32), nullable=False),
    Column("gpus", Text, nullable=False),
    Column("tried", Text, nullable=False),
    Column("cause", String(128)),
    Column("job_ids", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "state", "state_since"),
    Index(None, "node_id", "state"),
)

# A GPU by its UUID, a machine by its node's id. A row outlives the node: the device may come back.
health_records = Table(
    "health_records",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("state_since", Float, nullable=False),
    Column("since", Float, nullable=False),
    Column("node_id", String(64), nullable=False, index=True),
    Column("provider", String(64), nullable=False),
    Column("faults", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("version", Integer, nullable=False),
)

# Repairs and checks that a node's agent was told to carry out, by their intent, and how they ended.
orders = Table(
    "orders",
    metadata,
    Column("intent_id", String(64), primary_key=True),
    Column("node_id", String(64), nullable=False),
    Column("incident_id", String(128)),
    Column("kind", String(32), nullable=False),
    Column("ordered_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("passed", Boolean),
    Column("detail", Text, nullable=False),
    Column("figures", Text, nullable=False),
    Index(None, "incident_id", "kind"),
    Index(None, "node_id", "kind"),
)

# Which attempts had to leave for which incident, and when their jobs were back at work.
evictions = Table(
    "evictions",
    metadata,
    Column("incident_id", String(128), primary_key=True),
    Column("attempt_id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("restarted_at", Float),
    Column("first_step_at", Float),
)

# What automation took out of the fleet, for the breaker's window.
cordons = Table(
    "cordons",
    metadata,
    Column("node_id", String(64), primary_key=True),
    Column("at", Float, primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("fabric_domain", String(255)),
    Index(None, "at"),
)
