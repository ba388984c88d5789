"""Lists of jobs: 10,000 that are active beside 50,000 that have ended, filtered and paged over a real connection."""

import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from statistics import median, quantiles

import httpx
from godwit.control_plane import keyring
from godwit.control_plane.hints import Hints
from godwit.control_plane.store import entities
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.arrays import Member
from godwit.domain.ids import ArrayId, JobId, ProjectId
from godwit.domain.jobs import Job, JobSpec, JobState

from benchmarks.figures import Figure, at_most
from benchmarks.fleet_page import app_over, context_over
from tests import postgres
from tests.control_plane.apis import served

ACTIVE, ENDED, PER_TRANSACTION = 10_000, 50_000, 5_000
CALLS = 200
"""Calls of each list; its p99 is then the third slowest."""

GOAL_MS = 100.0

_ALIVE = [JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.RUNNING, JobState.RECOVERING]
_OVER = [JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.CANCELLED]

WAYS: Mapping[int, int] = {100: 2, 1_000: 5}
"""How often all active jobs are gone through, by how many a page holds."""

LISTS: Mapping[str, Mapping[str, str | list[str]]] = {
    "first page": {},
    "all active": {"state": sorted(set(_ALIVE))},
    "running, of a project": {"state": "running", "project": "team-3"},
    "of a name": {"name": "train-77"},
    "of no array, none there": {"single": "true", "state": "failed"},
}


def measure() -> Iterator[Figure]:
    """The p99 of lists of 100 jobs, and of pages of 100 and of 1,000 through all active ones, on both databases."""
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as folder:
        yield from _measured(f"sqlite:///{folder}/bench.db", "SQLite")
    with postgres.serving() as server, server.copy() as url:
        yield from _measured(url, "PostgreSQL")


def _measured(url: str, kind: str) -> Iterator[Figure]:
    hints, token = Hints(), keyring.new_token()
    db = Database(open_engine(url), hints.announce)
    try:
        db.migrate()
        context = context_over(db, hints)
        _fill(db, context.now())
        with served(app_over(context, token)) as address, _client(address, token) as client:
            for name, query in LISTS.items():
                yield _figure(f"jobs listed, {kind}: {name}", [_call(client, query)[0] for _ in range(CALLS)], 100)
            for jobs, ways in WAYS.items():
                yield _figure(f"jobs paged, {kind}: all active", list(_pages(client, jobs, ways)), jobs)
    finally:
        db.close()


def _client(address: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30.0, trust_env=False)


def _figure(name: str, took_ms: list[float], jobs: int) -> Figure:
    p99 = quantiles(took_ms, n=100)[-1]
    note = f"{jobs:,} a page; median {median(took_ms):.0f} ms, {len(took_ms)} calls"
    return Figure(f"{name}, p99", p99, "ms", at_most(GOAL_MS) if jobs <= 100 else None, note)


def _call(client: httpx.Client, query: Mapping[str, str | list[str]]) -> tuple[float, str | None]:
    began = time.perf_counter()
    answer = client.get("/v1/jobs", params=dict(query))
    took_ms = 1000 * (time.perf_counter() - began)
    answer.raise_for_status()
    return took_ms, answer.json()["next_cursor"]


def _pages(client: httpx.Client, jobs: int, ways: int) -> Iterator[float]:
    """How long each page of that many jobs took on some ways through all active ones."""
    for _ in range(ways):
        query = dict(LISTS["all active"]) | {"limit": str(jobs)}
        while True:
            took_ms, cursor = _call(client, query)
            yield took_ms
            if cursor is None:
                break
            query["cursor"] = cursor


def _fill(db: Database, now: float) -> None:
    """Jobs of twelve projects and many names, a fifth of them in arrays; the same each time."""
    rng = random.Random(7)
    states = [rng.choice(_ALIVE) for _ in range(ACTIVE)] + [rng.choice(_OVER) for _ in range(ENDED)]
    rng.shuffle(states)
    for first in range(0, len(states), PER_TRANSACTION):
        with db.write() as tx:
            for number, state in enumerate(states[first : first + PER_TRANSACTION], start=first):
                entities.insert(tx, _job(number, state, now))


def _job(number: int, state: JobState, now: float) -> Job:
    member = Member(ArrayId(f"array-{number // 50:06d}"), number % 50, 50) if number // 50 % 5 == 0 else None
    project = ProjectId(f"team-{number % 12}")
    spec = JobSpec(name=f"train-{number % 1_000}", run="python train.py " + "x" * 500, project=project)
    return Job(JobId(f"job-{number:08d}"), project, spec, state, now - 1e5 + number, now, member=member)
