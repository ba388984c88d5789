"""The tables. One row per fact; rows that several writers change carry a version, and a stale write is refused.

Columns named under "observed" in a comment are written by what was seen out there, without touching the version, so
that a heartbeat never defeats a decision.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column that is declared INTEGER.
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("gpus", Text, nullable=False),
    Column("nodes", String(32), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("interruptions", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("exit_code", Integer),
    Column("detail", Text, nullable=False),
    Column("array_id", String(64)),
    Column("array_index", Integer),
    Column("array_size", Integer),
    Column("after_id", String(64)),
    Column("deadline_at", Float),
    Column("budget_usd", Float),
    Column("nodes_wanted", Integer),
    Column("submitted_by", String(64), nullable=False, server_default=""),
    Column("version", Integer, nullable=False),
    # observed
    Column("progress", Text),
    # written when an attempt ends
    Column("served_gpu_s", Float, nullable=False, server_default="0"),
    Index(None, "state", "priority", "created_at"),
    Index(None, "state", "id"),
    Index(None, "name", "id"),
    Index(None, "project", "state", "id"),
    Index(None, "array_id", "state"),
    Index(None, "state", "after_id"),
)

arrays = Table(
    "arrays",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Index(None, "name", "id"),
)

# What jobs with this `after_id` wait for; the jobs of an array share one set, however many they are.
dependencies = Table(
    "dependencies",
    metadata,
    Column("set_id", String(64), primary_key=True),
    Column("on_id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("wanted", String(16), nullable=False),
)

# How long the last jobs of a name ran that succeeded, the newest last, as JSON.
run_times = Table(
    "run_times",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("seconds", Text, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("slots", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("outcome", String(16)),
    Column("exit_code", Integer),
    Column("failed_at", Float),
    Column("detail", Text, nullable=False),
    Column("yields_to", String(64)),
    Column("left_slots", Text, nullable=False, server_default="[]"),
    Column("resized_at", Float),
    Column("leaves_by", Float),
    Column("last_lines", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # observed
    Column("saved_at", Float),
    Column("saved_bytes", BigInteger),
    Column("failed_start", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("job_id", "epoch"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("provider", String(64), nullable=False),
    Column("offer", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("instance_id", String(255)),
    Column("address", String(255)),
    Column("gpus", Text, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("memory_gib", Float, nullable=False),
    Column("gone", Boolean, nullable=False),
    Column("reserved_for", String(64)),
    Column("idle_since", Float),
    Column("leaves_at", Float),
    Column("detail", Text, nullable=False),
    Column("confinement", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False),
    # observed
    Column("last_seen_at", Float),
    Column("lease_until", Float),
)

agents = Table(
    "agents",
    metadata,
    Column("node_id", String(64), primary_key=True),
    Column("agent_id", String(64), nullable=False),
    Column("credential_hash", String(64), nullable=False),
    Column("joined_at", Float, nullable=False),
    Column("observed_seq", BigInteger, nullable=False),
    Column("last_sent_at", Float, nullable=False),
)

offers = Table(
    "offers",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("provider", String(64), nullable=False, index=True),
    Column("region", String(128), nullable=False),
    Column("gpu_model", String(128)),
    Column("gpu_count", Integer, nullable=False),
    Column("spot", Boolean, nullable=False),
    Column("price_usd_per_gpu_hour", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("data", Text, nullable=False),
    Index(None, "price_usd_per_gpu_hour", "key"),
)

holds = Table(
    "holds",
    metadata,
    Column("offer_key", String(255), primary_key=True),
    Column("until", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("failed", Integer, nullable=False, server_default="0"),
)

experience = Table(
    "experience",
    metadata,
    Column("offer_key", String(255), primary_key=True),
    Column("refusals", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("ready", Integer, nullable=False),
    Column("ready_s", Float, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("hours", Float, nullable=False),
)

losses = Table(
    "losses",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("at", Float, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("limits", Text, nullable=False),
    Column("cohort", String(64), nullable=False),
    Column("weight", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("version", Integer, nullable=False),
    Column("shares_nodes", Boolean, nullable=False, server_default=false()),
    # written when an attempt ends
    Column("usage", Text),
)

providers = Table(
    "providers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("options", Text, nullable=False),
    Column("secrets", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

intents = Table(
    "intents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("node_id", String(64), nullable=False),
    Column("attempt_id", String(64)),
    Column("job_id", String(64)),
    Column("payload", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("state_since", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("detail", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("holder", String(64), nullable=False, server_default=""),
    Index(None, "state", "kind"),
    Index(None, "node_id", "state"),
)

events = Table(
    "events",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("subject", String(16), nullable=False),
    Column("subject_id", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("old", String(16)),
    Column("new", String(16)),
    Column("job_id", String(64)),
    Column("node_id", String(64)),
    Column("data", Text, nullable=False),
    Index(None, "job_id", "seq"),
    Index(None, "node_id", "seq"),
    Index(None, "kind", "at"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("at", Float, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("files", Integer, nullable=False),
    Column("manifest_url", Text, nullable=False),  # empty once it was deleted: what was reached stays known
    Column("deleted_at", Float),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("job_id", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
)
