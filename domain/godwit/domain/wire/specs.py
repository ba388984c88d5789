"""The job specification as people write it; `to_domain` is where it is checked beyond its shape."""

import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from godwit.domain import resources, times
from godwit.domain.afters import After, When
from godwit.domain.elasticity import Batch, Bends
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.ids import ProjectId
from godwit.domain.jobs import CheckpointPolicy, Data, Fabric, JobKind, JobSpec, Preflight, Resources, Retries, Spot
from godwit.domain.projects import DEFAULT
from godwit.domain.wire.dev import DevSpec
from godwit.domain.wire.pages import Message
from godwit.domain.wire.secrets import EnvName, SecretsSpec
from godwit.domain.wire.serving import ServingSpec
from pydantic import Field, StringConstraints, field_validator, model_validator

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NAME_MAX = 63
PRIORITIES = {"low": -100, "normal": 0, "high": 100}
MAX_PRIORITY = 1000
MAX_NODES = 4096
MAX_COUNT = 10_000
"""Jobs of one array: what one transaction writes in about a second."""

MAX_AFTER = 64
INTERVALS = ("auto", "10m", "5m..30m")
MAX_DATA = 16
SERVICE_NAME_MAX = 48
_NODES_RANGE = re.compile(r"^\s*(\d{1,6})\s*\.\.\s*(\d{1,6})\s*$")

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Duration = Annotated[str, StringConstraints(pattern=times.DURATION_PATTERN)]
Instant = Annotated[str, StringConstraints(min_length=2, max_length=40)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
Short = Annotated[str, StringConstraints(max_length=4_096)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ResourcesSpec(Message):
    """What each node of the job needs, how many nodes, and where."""

    gpus: Short | Annotated[list[Short], Field(max_length=16)] | Annotated[int, Field(ge=0, le=16)] = "0"
    nodes: Annotated[int, Field(ge=1, le=MAX_NODES)] | Annotated[str, StringConstraints(max_length=32)] = 1
    cpus: Annotated[int, Field(ge=0, le=4096)] = 0
    memory: Annotated[str, StringConstraints(pattern=r"^\d{1,6}(\.\d+)?GB\+$")] | None = None
    memory_gib: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 0.0
    infra: Annotated[list[Short], Field(max_length=64)] = Field(default_factory=list)
    spot: Literal["auto", "never", "only"] = "auto"
    fabric: Literal["one", "any"] = "one"

    def to_domain(self) -> Resources:
        """The same as domain values; raises `InvalidRequest` with the path of what is wrong."""
        nodes_min, nodes_max = self._nodes()
        return Resources(
            gpus=self._gpus(),
            nodes_min=nodes_min,
            nodes_max=nodes_max,
            cpus=self.cpus,
            memory_gib=self.memory_gib,
            infra=tuple(resources.parse_infra(text) for text in self.infra),
            spot=Spot(self.spot),
            fabric=Fabric(self.fabric),
        )

    def _nodes(self) -> tuple[int, int]:
        if isinstance(self.nodes, int):
            return self.nodes, self.nodes
        match = _NODES_RANGE.match(self.nodes)
        path = ("resources", "nodes")
        if match is None:
            raise InvalidRequest(problems=[Problem(path, f"cannot read {self.nodes!r} as nodes", ("4", "2..8"))])
        low, high = int(match[1]), int(match[2])
        if not 1 <= low <= high <= MAX_NODES:
            meant = f"{high}..{low}" if 1 <= high < low <= MAX_NODES else None
            message = f"nodes {low}..{high} is not a range from low to high within 1..{MAX_NODES}"
            raise InvalidRequest(problems=[Problem(path, message, ("4", "2..8"), meant)])
        return low, high

    def _gpus(self) -> resources.GpuAsk:
        path = ("resources", "gpus")
        memory = float(self.memory.removesuffix("GB+")) if self.memory else 0.0
        if isinstance(self.gpus, int):
            return resources.GpuAsk(count=self.gpus, memory_gib_min=memory)
        texts = [self.gpus] if isinstance(self.gpus, str) else self.gpus
        asks = [resources.parse_gpus(text, path) for text in texts]
        if len({(ask.count, ask.milli) for ask in asks}) > 1:
            raise InvalidRequest(
                problems=[Problem(path, "all acceptable GPUs must have the same count", ("[H100:8, H200:8]",))]
            )
        count = asks[0].count if asks else 0
        milli = asks[0].milli if asks else resources.WHOLE_GPU_MILLI
        return resources.GpuAsk(count, tuple(model for ask in asks for model in ask.models), memory, milli)


class CheckpointSpec(Message):
    """Where checkpoints go, how often the in-job helper asks for one, and how many stay in the store.

    `store` is an fsspec URL such as `s3://bucket/prefix`; the default store when left out. `interval` is `auto`, one
    time such as `10m`, or bounds for auto such as `5m..30m`. `keep` counts committed checkpoints. `mode` is `program`
    when the program writes them, `process` when it cannot: then its node saves it as it runs, from outside.
    """

    mode: Literal["program", "process"] = "program"
    store: Short | None = None
    interval: Annotated[str, StringConstraints(max_length=32)] = "auto"
    keep: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3

    @field_validator("store")
    @classmethod
    def _known_scheme(cls, store: str | None) -> str | None:
        if store is not None and not re.match(r"^(file:///|s3://|/)[^\s]", store):
            raise ValueError("write file:///folder or s3://bucket/prefix")
        return store

    def to_domain(self) -> CheckpointPolicy:
        """The same as domain values; raises `InvalidRequest` with the path of what is wrong."""
        shortest_s, longest_s = self._bounds()
        return CheckpointPolicy(self.store, shortest_s, longest_s, self.keep)

    def _bounds(self) -> tuple[float | None, float | None]:
        path = ("checkpoint", "interval")
        if self.interval == "auto":
            return None, None
        low, dots, high = (part.strip() for part in self.interval.partition(".."))
        if not all(re.match(times.DURATION_PATTERN, part) for part in ((low, high) if dots else (low,))):
            message = f"cannot read {self.interval!r} as a time between checkpoints"
            raise InvalidRequest(problems=[Problem(path, message, INTERVALS)])
        shortest_s = times.duration_s(low, path)
        longest_s = times.duration_s(high, path) if dots else shortest_s
        if shortest_s > longest_s:
            message = f"{self.interval} is not a range from short to long"
            raise InvalidRequest(problems=[Problem(path, message, INTERVALS, f"{high}..{low}")])
        return shortest_s, longest_s


class RetriesSpec(Message):
    """How many interruptions (lost nodes, not failures of the program) the job survives."""

    max: Annotated[int, Field(ge=0, le=1000)] = 5


class DataSpec(Message):
    """Something that the job reads: where it lies, as `provider/region`, and how large it is.

    `egress_usd_per_gb` is what a gigabyte costs that leaves its provider; its list price when left out.
    """

    at: Short
    size: Annotated[str, StringConstraints(pattern=r"^\d{1,9}(\.\d{1,3})?(MB|GB|TB)$")]
    egress_usd_per_gb: Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)] | None = None

    def to_domain(self) -> Data:
        """The same as a domain value; raises `InvalidRequest` for a place that cannot be read."""
        gb = {"MB": 1e-3, "GB": 1.0, "TB": 1e3}[self.size[-2:]]
        return Data(resources.parse_infra(self.at), float(self.size[:-2]) * gb, self.egress_usd_per_gb)


class AfterSpec(Message):
    """A job or an array, by name or id, that comes first: until it has `succeeded`, or has `ended` in whatever way."""

    job: Name
    when: Literal["succeeded", "ended"] = "succeeded"


class JobSpecIn(SecretsSpec, ServingSpec, DevSpec):
    """A job specification, as in `train.yaml`, or one of a service or a dev environment.

    `workdir` is a folder on the submitter's machine; the command line uploads it and sends `workdir_digest` instead.
    With `count` it is an array: so many jobs NAME-0, NAME-1, ... that differ in GODWIT_ARRAY_INDEX. What `after` names
    must exist when the job is submitted: a job cannot name itself or a later one, so none can wait for each other.
    `elastic` and `batch` matter where `nodes` is a range: whether its program goes on while nodes come and go, and what
    becomes of its batch.
    """

    kind: Literal["train", "service", "dev"] = "train"
    name: Name
    run: Text
    setup: Text | None = None
    workdir_digest: Digest | None = None
    env: Annotated[dict[EnvName, Short], Field(max_length=256)] = Field(default_factory=dict)
    resources: ResourcesSpec = Field(default_factory=ResourcesSpec)
    data: Annotated[list[DataSpec], Field(max_length=MAX_DATA)] = Field(default_factory=list)
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    retries: RetriesSpec = Field(default_factory=RetriesSpec)
    priority: (
        Literal["low", "normal", "high"] | Annotated[int, Field(strict=True, ge=-MAX_PRIORITY, le=MAX_PRIORITY)]
    ) = "normal"
    count: Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)] | None = None
    after: Annotated[list[Name | AfterSpec], Field(max_length=MAX_AFTER)] = Field(default_factory=list)
    run_time: Duration | None = None
    deadline: Instant | None = None
    budget_usd: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    preemptible: bool = True
    preflight: Literal["auto", "never", "always"] = "auto"
    hang_after: Literal["auto", "off"] | Duration = "auto"
    elastic: Literal["restart", "in-place"] = "restart"
    batch: Literal["keep", "scale"] = "keep"
    project: Name = DEFAULT

    @model_validator(mode="before")
    @classmethod
    def _needs_no_program(cls, data: Any) -> Any:
        # What people do in a dev environment is their program; `run` is what goes on beside them.
        return {"run": ":", **data} if isinstance(data, dict) and data.get("kind") == "dev" else data

    @model_validator(mode="after")
    def _one_process_tree(self) -> "JobSpecIn":
        if self.checkpoint.mode == "process" and self.resources.nodes not in (1, "1"):
            raise ValueError("checkpoint.mode: process saves programs on one node; use resources.nodes: 1")
        if self.checkpoint.mode == "process" and self.kind != "train":
            raise ValueError(
                "checkpoint.mode: process is for kind: train; services start anew, and of dev the home moves"
            )
        if self.kind == "dev" and self.resources.nodes not in (1, "1"):
            raise ValueError("a dev environment is one node; use resources.nodes: 1")
        return self

    @model_validator(mode="after")
    def _of_one_kind(self) -> "JobSpecIn":
        others = _STRANGE[self.kind]
        strange = sorted(key for key in self.model_fields_set & others if getattr(self, key) != _default(key))
        if strange:
            raise ValueError(f"{strange[0]} is not for kind: {self.kind}; leave it out, or say what kind it is")
        return self

    def to_domain(self, now: float) -> JobSpec:
        """The same as domain values; a deadline of `+48h` counts from `now`. `count` is left to whoever submits.

        Raises `InvalidRequest` with the path of what is wrong.
        """
        self._refuse_long_names()
        resources_asked = self.resources.to_domain()
        is_service, is_dev = self.kind == "service", self.kind == "dev"
        return JobSpec(
            name=self.name,
            run=self.run,
            kind=JobKind(self.kind),
            setup=self.setup,
            workdir_digest=self.workdir_digest,
            env=dict(self.env),
            secrets=self.to_secrets(self.env, is_saved_whole=self.checkpoint.mode == "process"),
            resources=replace(
                resources_asked,
                data=tuple(one.to_domain() for one in self.data),
                process_saves=self.checkpoint.mode == "process",
            ),
            checkpoint=self.checkpoint.to_domain(),
            retries=Retries(self.retries.max),
            priority=self.priority if isinstance(self.priority, int) else PRIORITIES[self.priority],
            after=tuple(
                After(one.job, When(one.when)) if isinstance(one, AfterSpec) else After(one) for one in self.after
            ),
            run_time_s=None if self.run_time is None else times.duration_s(self.run_time, ("run_time",)),
            deadline_at=None if self.deadline is None else times.instant(self.deadline, now, ("deadline",)),
            budget_usd=self.budget_usd,
            preemptible=self.preemptible,
            preflight=Preflight(self.preflight),
            hang_after_s=self._hang_after_s() if self.kind == "train" else 0.0,
            elastic=Bends(self.elastic),
            batch=Batch(self.batch),
            project=ProjectId(self.project),
            serving=self.to_serving(nodes=resources_asked.nodes_max) if is_service else None,
            dev=self.to_dev() if is_dev else None,
        )

    def _hang_after_s(self) -> float | None:
        if self.hang_after in ("auto", "off"):
            return None if self.hang_after == "auto" else 0.0
        return times.duration_s(self.hang_after, ("hang_after",))

    def _refuse_long_names(self) -> None:
        if self.kind == "service" and len(self.name) > SERVICE_NAME_MAX:
            message = f"the name of a service has at most {SERVICE_NAME_MAX} characters: its replicas get a number more"
            raise InvalidRequest(problems=[Problem(("name",), message, did_you_mean=self.name[:SERVICE_NAME_MAX])])
        last = None if self.count is None else f"{self.name}-{self.count - 1}"
        if last is not None and len(last) > NAME_MAX:
            message = f"the last job of the array would be called {last}, longer than {NAME_MAX} characters"
            meant = self.name[: NAME_MAX - (len(last) - len(self.name))].rstrip("-")
            raise InvalidRequest(problems=[Problem(("name",), message, did_you_mean=meant)])


_SERVICE_ONLY = frozenset(ServingSpec.model_fields)
_DEV_ONLY = frozenset(DevSpec.model_fields)
_TRAIN_ONLY = frozenset({"count", "after", "run_time", "deadline", "hang_after", "elastic", "batch"})
_STRANGE = {
    "train": _SERVICE_ONLY | _DEV_ONLY, "service": _TRAIN_ONLY | _DEV_ONLY, "dev": _TRAIN_ONLY | _SERVICE_ONLY,
}  # fmt: skip


def _default(key: str) -> object:
    return JobSpecIn.model_fields[key].get_default(call_default_factory=True)
