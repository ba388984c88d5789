"""What one control plane on SQLite takes: submissions and lists per second over eight connections that stay open.

The client shares the machine's cores. What it gets from a route that needs neither database nor token is the ceiling
that server and client set together.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import psutil

from benchmarks import homes, keep_alive
from benchmarks.figures import Figure, at_least

WINDOWS = 3
WINDOW_S = 4.0
JOBS_MIN = 2_000
PAGE = 100
SUBMIT_GOAL, LIST_GOAL = 150.0, 300.0

WAITING_JOB = {"name": "waits", "run": "true", "resources": {"gpus": "H100:8", "nodes": 64, "spot": "never"}}
"""More nodes of one fabric than any simulated cloud has: such a job is planned like any other, and waits."""


@dataclass(frozen=True)
class Pressed:
    """One window, and the CPU seconds that the whole server process used in it.

    On a machine that does other things too, CPU per answer says more of the server than answers per second.
    """

    window: keep_alive.Window
    server_cpu_s: float


def measure() -> Iterator[Figure]:
    """Accepted submissions, pages of 100 jobs and bare answers per second."""
    with homes.serving() as home:
        submit, listing = submissions(home.token), _listing(home.token)
        bare = keep_alive.request("GET", "/v1/version", home.token, 200)
        accepted, posts, version = 0, list[Pressed](), list[Pressed]()
        for _ in range(WINDOWS):
            version.append(_press(home, lambda: bare))
            posts.append(_press(home, submit))
            accepted += posts[-1].window.answers
        missing = max(0, JOBS_MIN - accepted)
        keep_alive.send(home.port, [submit() for _ in range(missing)])
        pages = [_press(home, lambda: listing) for _ in range(WINDOWS)]
        _check(home, accepted + missing, pages)
    jobs = f"{accepted + missing:,} jobs there"
    yield _figure("API: GET /v1/version", version, None, "baseline: no token, no database")
    yield _figure("API: POST /v1/jobs accepted", posts, SUBMIT_GOAL, "the planner at work on the queue meanwhile")
    yield _figure(f"API: GET /v1/jobs?limit={PAGE}", pages, LIST_GOAL, jobs)


def _press(home: homes.Home, following: Callable[[], keep_alive.Request]) -> Pressed:
    server = psutil.Process(home.pid)
    before = server.cpu_times()
    window = keep_alive.press(home.port, following, WINDOW_S)
    after = server.cpu_times()
    return Pressed(window, after.user + after.system - before.user - before.system)


def submissions(token: str) -> Callable[[], keep_alive.Request]:
    """Makes one submission after the other, each under a key of its own."""
    numbers, body = itertools.count(), json.dumps(WAITING_JOB).encode()

    def following() -> keep_alive.Request:
        key = f"bench-{next(numbers)}"
        return keep_alive.request("POST", "/v1/jobs", token, 202, body, Idempotency_Key=key)

    return following


def _listing(token: str) -> keep_alive.Request:
    return keep_alive.request("GET", f"/v1/jobs?limit={PAGE}", token, 200)


def _figure(name: str, pressed: list[Pressed], goal: float | None, note: str) -> Figure:
    value = median(each.window.per_second for each in pressed)
    each_ms = 1000 * median(each.server_cpu_s / each.window.answers for each in pressed)
    client_ms = 1000 * median(each.window.client_cpu_s / each.window.answers for each in pressed)
    cost = f"{each_ms:.2f} ms of CPU each, the client {client_ms:.2f} ms"
    return Figure(name, value, "/s", at_least(goal) if goal else None, f"{note}; {cost}")


def _check(home: homes.Home, accepted: int, pages: list[Pressed]) -> None:
    """Raise `RuntimeError` unless what was answered is what is there, and nothing was bought."""
    if any(len(json.loads(page.window.last_body)["items"]) != PAGE for page in pages):
        raise RuntimeError(f"a page did not hold {PAGE} jobs")
    stored = _count(home)
    if stored != accepted:
        raise RuntimeError(f"{accepted} submissions were accepted, {stored} jobs are there")
    if home.get("/v1/nodes?all=true")["items"]:
        raise RuntimeError("a node was bought for a job that should only wait; its boot disturbed the figures")


def _count(home: homes.Home) -> int:
    count, cursor = 0, ""
    while True:
        page = home.get(f"/v1/jobs?limit=1000{cursor}")
        items = page["items"]
        count += len(items) if isinstance(items, list) else 0
        if page["next_cursor"] is None:
            return count
        cursor = f"&cursor={page['next_cursor']}"
