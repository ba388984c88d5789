"""The config.yaml that a new home begins with: what is set, and what could be."""

FIRST_CONFIG = """\
# How this control plane is set up. Read at start.
#
# port: where it listens on 127.0.0.1; 0 takes 7461 or, if that is in use, any free port, and keeps it.
port: 0

# Where nodes on other machines reach it; left out: http://127.0.0.1:<port>, which only nodes on this machine do.
# url: https://godwit.example.com

# The address it listens on; only this machine reaches 127.0.0.1. On another one, put something before it that speaks
# TLS: tokens pass in the clear.
# listen: 127.0.0.1

# What a machine installs whose image has no agent; left out: godwit[agent] of this very version, from pip's index.
# agent_package: godwit[agent] @ https://example.com/godwit-0.1.0-py3-none-any.whl

# Where its truth lies; left out: a SQLite file in this folder. PostgreSQL: postgresql://user:password@host/name
# database: postgresql://...

# Where checkpoints go by default; left out: a folder in this one. Any fsspec URL.
# checkpoints: s3://bucket/prefix

# Over which broker workers (`python -m godwit.control_plane work`) are told what to launch and end; left out: the
# control plane does it itself. Wants PostgreSQL. With a password in it: GODWIT_BROKER_URL, or broker_env: NAME.
# executors: {broker: redis://127.0.0.1:6379/0}

# Where GPUs come from. The simulated clouds cost nothing and rent nothing: they start agents on this machine.
providers:
  - {kind: local, name: local}
  - {kind: simulated, name: sim-aurora}
  - {kind: simulated, name: sim-borealis}
  - {kind: simulated, name: sim-cascade}

# Times in seconds that decide when a node is lost, or idle.
# policy: {missed_after_s: 4, lease_s: 15}

# How often agents report, and how long their credentials live, which are renewed at half. Thousands of nodes want 5 s;
# then a node counts as lost after 20 s, unless `policy` says otherwise.
# agents: {heartbeat_s: 1, credential_s: 86400}

# A listener for agents with TLS and certificates of our own making, which a proxy passes as TCP; docs/operations.md.
# agents_tls: {url: https://godwit.example.com:7465, listen: 0.0.0.0}

# What the fleet may grow to and cost, how long a node may idle, what is never given back, and what is kept ready.
# fleet: {max_nodes: 16, max_usd_per_hour: 400, idle_s: 300, min_nodes: 0, warm: [{gpus: H100:8, count: 1}]}

# Who gives way when there is no room: off, quota (only what was borrowed), priority (also what is less urgent). What
# started less than min_run_s seconds ago is left alone. With time_sharing: on, long jobs also give way to short ones of
# their priority, soon after they saved. What a project held half_life_s seconds ago counts half as much. Who trains and
# leaves its GPUs idle for idle_job_after_s seconds is told (0: never); reclaim_idle_jobs: true ends it then.
# scheduling: {preemption: priority, min_run_s: 300, time_sharing: off, half_life_s: 604800, idle_job_after_s: 1800}

# What is done about sick GPUs and nodes; with acts: false it is only told. spares: nodes kept idle wherever gangs run,
# or auto for as many as pay. All keys: docs/health-policy.md.
# health: {acts: true, breaker_share: 0.2, spares: 0, sweep_every_s: off}

# Prometheus reads /metrics with a token; open: true lets whoever reaches this port read it without one.
# metrics: {open: false}

# How many requests one token or session may send, and one agent: so many a second for ever, and burst at once. Each
# process counts for itself; 0 a second: no limit.
# limits: {requests_per_s: 100, burst: 1000, agent_requests_per_s: 50, agent_burst: 500}

# Who vouches for people: an OpenID Connect provider, and what its groups allow here; docs/security.md.
# login: {issuer: https://id.example.com, client_id: godwit, client_secret_env: OIDC_SECRET,
#         map: [{group: ml-admins, role: admin}, {group: vision, role: member, project: vision}]}

# For how many days output of jobs that are over and uploaded workdirs are kept after they were last used; 0: for ever.
# keeping: {logs_days: 90, archives_days: 30}

# Which Prometheus services may be scaled by (`autoscale: {on: prometheus}`); no other address is asked for anybody.
# prometheus: [http://prometheus:9090]

# Who is told of incidents, budgets and ends of jobs. Secrets may come from the environment; docs/notifications.md.
# notifications:
#   - {name: on-call, kind: slack, url_env: ON_CALL_URL, topics: [incidents, budgets]}
#   - {name: ci, url: https://ci.example.com/godwit, secret_env: CI_SECRET, topics: [job-ends], projects: [vision]}
"""
