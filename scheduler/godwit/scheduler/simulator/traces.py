"""Traces: which jobs came when, how large they were and how long they ran. CSV in, values out.

Columns: `submit_s,gpus,duration_s,user` and, where wanted, `nodes,priority,job_id`; others are passed over. `gpus` is
of the whole job. Without `nodes`, a job that does not fit one node takes whole nodes, as many as it needs.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from godwit.domain.errors import InvalidRequest

COLUMNS = ("submit_s", "gpus", "duration_s", "user")

ROWS_MAX = 5_000_000
"""More is a mistake rather than a trace: it would not fit in memory."""

GPUS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One job of a trace: a gang of `nodes` with `gpus_per_node` each, that has `duration_s` of work to do there."""

    job_id: str
    submit_s: float
    duration_s: float
    nodes: int = 1
    gpus_per_node: int = 1
    user: str = "default"
    priority: int = 0

    @property
    def gpus(self) -> int:
        """GPUs of the whole gang."""
        return self.nodes * self.gpus_per_node


def read(lines: Iterable[str], gpus_per_node: int = 8) -> list[TraceJob]:
    """The jobs of a CSV, in order of submission. Raises InvalidRequest that names the line; fix it there."""
    rows = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise InvalidRequest(f"the trace has no column {missing[0]}; it needs {','.join(COLUMNS)} in its first line")
    jobs = list(_jobs(rows, gpus_per_node))
    if not jobs:
        raise InvalidRequest("the trace has no jobs: there is nothing to simulate")
    seen = Counter(job.job_id for job in jobs)
    if len(seen) < len(jobs):
        raise InvalidRequest(f"two jobs of the trace have the job_id {seen.most_common(1)[0][0]!r}; give each its own")
    return sorted(jobs, key=lambda job: job.submit_s)


def window(jobs: Sequence[TraceJob], from_s: float, to_s: float) -> list[TraceJob]:
    """Those submitted in [from_s, to_s)."""
    return [job for job in jobs if from_s <= job.submit_s < to_s]


def _jobs(rows: Iterable[Mapping[str, str]], gpus_per_node: int) -> Iterator[TraceJob]:
    for line, row in enumerate(rows, start=2):
        if line > ROWS_MAX:
            raise InvalidRequest(f"the trace has more than {ROWS_MAX:,} jobs; simulate a part of it")
        name = row.get("job_id") or f"j{line - 1:06}"
        gpus = int(_number(row, "gpus", line, 0, GPUS_MAX))
        nodes, per_node = _gang(gpus, row.get("nodes"), gpus_per_node, line)
        submit_s, duration_s = _number(row, "submit_s", line, 0), _number(row, "duration_s", line, 0)
        priority = int(_number(row, "priority", line, -1e6, 1e6)) if row.get("priority") else 0
        yield TraceJob(name, submit_s, max(duration_s, 1.0), nodes, per_node, row["user"] or "default", priority)


def _gang(gpus: int, nodes: str | None, gpus_per_node: int, line: int) -> tuple[int, int]:
    if nodes:
        count = int(_number({"nodes": nodes}, "nodes", line, 1, GPUS_MAX))
        if gpus % count:
            raise InvalidRequest(f"line {line} of the trace: {gpus} GPUs do not divide over {count} nodes")
        return count, gpus // count
    if gpus <= gpus_per_node:
        return 1, gpus
    return -(-gpus // gpus_per_node), gpus_per_node


def _number(row: Mapping[str, str], name: str, line: int, least: float, most: float = 1e12) -> float:
    text = row[name]
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = float("nan")
    if not least <= value <= most:
        raise InvalidRequest(
            f"line {line} of the trace: {name} is {text!r}, but must be a number from {least:g} to {most:g}"
        )
    return value
