"""What an agent and the control plane say to each other; the agent dials, always.

    POST /v1/agent/join        Authorization: Bearer <join token>      JoinRequest -> JoinReply
    POST /v1/agent/startup-failure    (with the join token)            the end of the startup script's log, as text
    POST /v1/agent/heartbeat   Authorization: Bearer <credential>      HeartbeatRequest -> HeartbeatReply
    POST /v1/agent/commands    (long poll)                             CommandsRequest -> CommandsReply
    POST /v1/agent/logs                                                LogChunk -> LogReply
    POST /v1/agent/secrets     (of an attempt here)                    AttemptSecretsRequest -> AttemptSecrets
    GET  /v1/agent/archives/{digest}                                   the workdir as .tar.gz

Where agents have a listener of their own, they also show a certificate: `wire/certificates`.

Observations are numbered per node and kept by the agent until acknowledged, so each is delivered at least once and
counted once. Commands are repeated until the agent reports `command-done` for their intent.
"""

from typing import Annotated, Literal

from godwit.domain.wire.certificates import Pem
from godwit.domain.wire.checkpoints import CheckpointsDeleted
from godwit.domain.wire.copies import CopyCheckpoint, CopyDone
from godwit.domain.wire.dev import Desk, IdleSeen, OpenTerminal
from godwit.domain.wire.health import ChecksDone, FindingSeen, RepairDone, RepairNode, RunChecks
from godwit.domain.wire.loads import NodeLoad
from godwit.domain.wire.notices import NoticeSeen
from godwit.domain.wire.pages import Message
from godwit.domain.wire.replicas import ReplicaSeen, Serve
from godwit.domain.wire.saving import Saving
from pydantic import Field

# What a database column holds is said here, so that a number out of range is refused and not half stored.
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Detail = Annotated[str, Field(max_length=4_096)]


class GpuFact(Message):
    """One GPU, as the node's driver shows it; `memory_gib` is per GPU."""

    index: Annotated[int, Field(ge=0, le=1_023)]
    uuid: Annotated[str, Field(max_length=128)]
    model: Annotated[str, Field(max_length=128)]
    memory_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class JoinRequest(Message):
    """The agent introduces its node. Joining again with the same token is refused unless `agent_id` is the same.

    `no_process_saves` says why it cannot save running programs from outside, `no_gpu_process_saves` why not those with
    GPUs; empty where it can. `csr` asks for a certificate: it joins where TLS is the control plane's own. `confinement`
    says as whom programs run there.
    """

    agent_id: Annotated[str, Field(min_length=8, max_length=64)]
    hostname: Annotated[str, Field(max_length=255)]
    address: Annotated[str, Field(max_length=255)]
    agent_version: Annotated[str, Field(max_length=64)]
    cpus: Annotated[int, Field(ge=0, le=1_000_000)]
    memory_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    gpus: Annotated[list[GpuFact], Field(max_length=128)]
    no_process_saves: Detail = "its agent does not say that it can"
    no_gpu_process_saves: Detail = "its agent does not say that it can"
    csr: Pem | None = None
    confinement: Detail = ""


class JoinReply(Message):
    """The credential touches only this node's rows. Heartbeats come every `heartbeat_s`; a lease lasts `lease_s`.

    With a `certificate` come the `authorities` to believe; both are left out where none was asked for.
    """

    node_id: str
    credential: str
    heartbeat_s: float
    lease_s: float
    certificate: Pem | None = None
    authorities: Annotated[list[Pem], Field(max_length=16)] | None = None


class CommandDone(Message):
    """The agent took the command of this intent on (`accepted`) or refuses it (`detail` says why: a stale epoch...)."""

    type: Literal["command-done"] = "command-done"
    seq: Count
    intent_id: str
    accepted: bool
    detail: Detail = ""


class AttemptRunning(Message):
    """The head's program runs (sent by rank 0), or a node that was to join a running attempt is part of its Ray."""

    type: Literal["attempt-running"] = "attempt-running"
    seq: Count
    attempt_id: str
    epoch: int


class AttemptStopped(Message):
    """This node no longer runs the attempt: no process of it is left here.

    `outcome`: "succeeded" or "failed" is the program's own end (rank 0 only; a failed `setup` on any rank is "failed"
    too); "interrupted" means that something of the platform broke (Ray died, the lease ran out); "cancelled" that it
    was told to stop. `ray_ended` marks the one interruption that a failing head brings about on every other node: Ray
    ended here. `preflight_failed` marks one that came before anything ran: a GPU of this node is not fit, which a
    finding says too. `last_lines` are the last lines of output, for a person.
    """

    type: Literal["attempt-stopped"] = "attempt-stopped"
    seq: Count
    attempt_id: str
    epoch: int
    outcome: Literal["succeeded", "failed", "interrupted", "cancelled"]
    exit_code: Int32 | None = None
    detail: Detail = ""
    ray_ended: bool = False
    preflight_failed: bool = False
    last_lines: Annotated[list[Annotated[str, Field(max_length=2_048)]], Field(max_length=50)] = Field(
        default_factory=list
    )


class JobProgress(Message):
    """The program says how far it is. Only the newest matters, so the agent may skip some."""

    type: Literal["job-progress"] = "job-progress"
    seq: Count
    attempt_id: str
    epoch: int
    at: Annotated[float, Field(allow_inf_nan=False)]
    step: int
    total_steps: int | None = None
    metrics: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)


class CheckpointCommitted(Message):
    """A manifest was written at `manifest_url`; the program stood still for `stall_s`, where that was measured."""

    type: Literal["checkpoint-committed"] = "checkpoint-committed"
    seq: Count
    attempt_id: str
    epoch: int
    step: Count
    at: Annotated[float, Field(allow_inf_nan=False)]
    size_bytes: Count
    files: Annotated[int, Field(ge=0, le=2**31 - 1)]
    manifest_url: str
    stall_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 0.0


class CheckpointRestored(Message):
    """The attempt starts from this checkpoint (`step` None: from nothing). `damaged` lists newer ones that failed."""

    type: Literal["checkpoint-restored"] = "checkpoint-restored"
    seq: Count
    attempt_id: str
    epoch: int
    step: int | None
    from_epoch: int | None = None
    manifest_url: str | None = None
    damaged: list[str] = Field(default_factory=list)


Observation = Annotated[
    CommandDone
    | AttemptRunning
    | AttemptStopped
    | JobProgress
    | CheckpointCommitted
    | CheckpointRestored
    | CheckpointsDeleted
    | ReplicaSeen
    | IdleSeen
    | NoticeSeen
    | FindingSeen
    | ChecksDone
    | RepairDone
    | CopyDone,
    Field(discriminator="type"),
]


class LiveAttempt(Message):
    """An attempt that runs on this node now."""

    attempt_id: str
    epoch: int


class HeartbeatRequest(Message):
    """Still here; these attempts run; this happened since the last acknowledged observation.

    `sent_at` is the agent's own clock and only grows: a heartbeat that the network delivers late, after a newer one,
    says nothing of what runs now. `load` comes with about one in ten: an agent that does not tell it may be older.
    `renews`: it takes a new credential along with the answer; `retells`: it tells again what a restore has forgotten.
    Older agents do neither.
    """

    agent_id: Annotated[str, Field(max_length=64)]
    sent_at: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    attempts: Annotated[list[LiveAttempt], Field(max_length=256)] = Field(default_factory=list)
    observations: Annotated[list[Observation], Field(max_length=256)] = Field(default_factory=list)
    load: NodeLoad | None = None
    renews: bool = False
    retells: bool = False


class HeartbeatReply(Message):
    """The lease is renewed: the node may run its attempts for `lease_s` from when it *sent* the heartbeat.

    Observations up to `acknowledged_seq` need not be sent again. Attempts in `fenced` must stop now: a newer epoch
    exists or their GPUs were given away. `credential` takes the place of the one before, which is good until its end;
    it is left out where there is no new one, since agents from before know no such key. So is `restored_at`, for who
    does not tell again what stands: when the control plane was last restored from a backup, and may have forgotten it.
    """

    lease_s: float
    heartbeat_s: float
    acknowledged_seq: int
    fenced: list[str] = Field(default_factory=list)
    credential: Annotated[str, Field(max_length=512)] | None = None
    restored_at: float | None = None


class Peer(Message):
    """A node of the gang."""

    rank: int
    node_id: str
    address: str


class StartAttempt(Message):
    """Run this node's part of an attempt. The agent refuses an epoch that is not newer than any it saw of the job.

    `port` is the first of five consecutive ports: four of the head (GCS, dashboard, client, spare), and the last one on
    each node for copies of checkpoints; nodes other than the head use the third for the watches of the gang.
    `ray_token` is the attempt's own Ray token. `store` is the fsspec URL of the job's checkpoints, `former_stores`
    are those of before it moved. `preflight` says whether the GPUs are tried first (auto: real ones are).
    `hang_after_s`: without a step for this long it hangs; None: the agent judges by its steps so far; 0: never.
    `joins`: this node comes to an attempt that runs. `bends`: `peers` are those of now, and may come and go.
    """

    type: Literal["start-attempt"] = "start-attempt"
    process_saves: bool = False  # the program cannot save itself: it runs without Ray, and the node saves it
    intent_id: str
    job_id: str
    job_name: str
    attempt_id: str
    epoch: int
    rank: int
    peers: list[Peer]
    gpus: list[int]
    gpu_milli: int = 1000
    port: int
    ray_token: str
    run: str
    setup: str | None
    workdir_digest: str | None
    env: dict[str, str]
    store: str
    former_stores: list[str] = Field(default_factory=list)
    saving: Saving = Field(default_factory=Saving)
    preflight: Literal["auto", "never", "always"] = "auto"
    hang_after_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    joins: bool = False
    bends: bool = False
    has_secrets: bool = False  # to be asked for: this message is kept on the node's disk, and they are not
    serve: Serve | None = None  # it is a replica of a service
    desk: Desk | None = None  # it is a dev environment


class StopAttempt(Message):
    """Stop this attempt if it runs here, after at most `grace_s`, and never start it again."""

    type: Literal["stop-attempt"] = "stop-attempt"
    intent_id: str
    job_id: str
    attempt_id: str
    epoch: int
    grace_s: float
    reason: str


Command = Annotated[StartAttempt | StopAttempt | RepairNode | RunChecks | CopyCheckpoint, Field(discriminator="type")]


class CommandsRequest(Message):
    """Wait up to `wait_s` for a command whose intent is not among `known` (received, not yet acknowledged)."""

    known: Annotated[list[str], Field(max_length=1024)] = Field(default_factory=list)
    wait_s: Annotated[float, Field(ge=0, le=60)] = 20.0


class CommandsReply(Message):
    """Commands owed to this node, oldest first, and terminals that wait for it to dial; these outlive no restart."""

    commands: list[Command]
    terminals: Annotated[list[OpenTerminal], Field(max_length=256)] = Field(default_factory=list)
