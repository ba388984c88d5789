"""What people have run meanwhile: jobs of several sorts, each with the end that it should come to."""

import random
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.clouds import ROOT, STAND_IN

OWN_FAULT = 3
"""What a program ends with that fails by its own fault."""

FINAL = frozenset({"succeeded", "failed", "cancelled"})
LOOK_S = 0.5
PAUSE_S, PAUSE_MAX_S, PATIENCE_S = 0.2, 3.0, 180.0
"""Between two tries of a request, and for how long it is tried: nothing is down for so long, however busy it is."""

# Started again when killed, as what runs programs in production does. Kept short of its end it would be a failure.
_KEPT_RUNNING = "while :; do {program}; code=$?; [ $code = 137 ] || exit $code; done"


class Refused(Exception):
    """The control plane refuses what was asked, for good."""


@dataclass(frozen=True)
class Sort:
    """Jobs of one sort: `at_once` of them are unfinished as long as any are submitted."""

    name: str
    nodes: int
    steps: int
    step_s: float
    at_once: int
    on_ray: bool = False
    fails_at: int | None = None
    cancelled_after_s: float | None = None

    @property
    def ends(self) -> str:
        """The end that its jobs should come to."""
        if self.cancelled_after_s is not None:
            return "cancelled"
        return "succeeded" if self.fails_at is None else "failed"


SHELLS = (
    Sort("shell", nodes=1, steps=150, step_s=0.1, at_once=1),
    Sort("gang", nodes=2, steps=120, step_s=0.1, at_once=1),
    Sort("wrong", nodes=1, steps=150, step_s=0.1, at_once=1, fails_at=60),
    Sort("unwanted", nodes=1, steps=100_000, step_s=0.1, at_once=1, cancelled_after_s=20.0),
)
"""Programs without a real Ray."""

QUICK = (
    Sort("shell", nodes=1, steps=80, step_s=0.1, at_once=1),
    Sort("gang", nodes=2, steps=80, step_s=0.1, at_once=1),
    Sort("unwanted", nodes=1, steps=100_000, step_s=0.1, at_once=1, cancelled_after_s=15.0),
)
"""The same, for a run of a minute."""

ON_RAY = (
    Sort("ray", nodes=1, steps=40, step_s=0.25, at_once=1, on_ray=True),
    Sort("ray-pair", nodes=2, steps=50, step_s=0.25, at_once=1, on_ray=True),
)
"""One on a real Ray of one node, and one on two."""


@dataclass
class Job:
    """A job that somebody submitted."""

    name: str
    sort: Sort
    submitted_at: float
    state: str = ""
    is_cancelled: bool = False


class Client:
    """Asks the control planes, and asks again while they are away: each request may be repeated."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=10
        )
        self.retries = 0

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """What it answers; raises `Refused` for an answer that another try would not change."""
        pause_s, deadline = PAUSE_S, time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self._http.request(method, path, **more)
                if answer.is_success:
                    return answer.json() if answer.content else None
                said = f"{answer.status_code}: {answer.text[:500]}"
                if answer.status_code < 500 and answer.status_code != 429:
                    raise Refused(f"{method} {path}: {said}")
            except httpx.TransportError as exc:
                said = type(exc).__name__
            assert time.monotonic() < deadline, f"{method} {path} was not answered within {PATIENCE_S:g} s: {said}"
            self.retries += 1
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)


class People:
    """A thread that submits, looks and cancels. `stop` ends submitting; it goes on until every job has ended."""

    def __init__(self, client: Client, diaries: Path, sorts: Sequence[Sort], rng: random.Random) -> None:
        self.client, self._diaries, self._sorts, self._rng = client, diaries, sorts, rng
        self.jobs: list[Job] = []
        self.failure: BaseException | None = None
        self._submitting = True
        self._thread = threading.Thread(target=self._run, name="people", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether all is submitted and every job has ended; raises what went wrong with a request."""
        if self.failure is not None:
            raise self.failure
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Submit no more."""
        self._submitting = False

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        states = [job.state for job in self.jobs]
        return {state: states.count(state) for state in sorted(set(states))}

    def _run(self) -> None:
        try:
            while self._submitting or any(job.state not in FINAL for job in self.jobs):
                self._look()
                time.sleep(LOOK_S)
        except BaseException as exc:  # noqa: BLE001 - the outermost frame of this thread; `is_over` raises it
            self.failure = exc

    def _look(self) -> None:
        for job in self.jobs:
            if job.state not in FINAL:
                job.state = self.client.ask("GET", f"/v1/jobs/{job.name}")["state"]
                self._cancel_in_time(job)
        for sort in self._sorts if self._submitting else ():
            unfinished = sum(1 for job in self.jobs if job.sort is sort and job.state not in FINAL)
            if unfinished < sort.at_once:
                self._submit(sort)

    def _cancel_in_time(self, job: Job) -> None:
        after_s = job.sort.cancelled_after_s
        if after_s is not None and not job.is_cancelled and time.monotonic() - job.submitted_at > after_s:
            self.client.ask("POST", f"/v1/jobs/{job.name}/cancel")
            job.is_cancelled = True

    def _submit(self, sort: Sort) -> None:
        name = f"{sort.name}-{sum(1 for job in self.jobs if job.sort is sort)}"
        (self._diaries / name).mkdir()
        asked = specification(name, sort, self._diaries / name)
        # One key for all tries: whichever of them was taken, there is one job.
        key = f"{name}-{self._rng.getrandbits(64):x}"
        self.client.ask("POST", "/v1/jobs", json=asked, headers={"Idempotency-Key": key})
        self.jobs.append(Job(name, sort, time.monotonic(), "queued"))


def specification(name: str, sort: Sort, diaries: Path) -> dict[str, Any]:
    """The job as it is submitted."""
    module = "tests.chaos.on_ray" if sort.on_ray else "tests.chaos.program"
    words = [sys.executable, *([] if sort.on_ray else ["-S"]), "-m", module, str(diaries), str(sort.steps)]
    words += [f"{sort.step_s}", *([] if sort.fails_at is None else [str(sort.fails_at), str(OWN_FAULT)])]
    run = _KEPT_RUNNING.format(program=" ".join(words))
    env = {"PYTHONPATH": str(ROOT)} | ({} if sort.on_ray else {STAND_IN: "1", "EACH_NODE_RUNS": run})
    return {
        "name": name, "run": run, "env": env, "resources": {"gpus": "H100:1", "nodes": sort.nodes, "spot": "never"},
        "retries": {"max": 1000}, "preflight": "never", "hang_after": "off",
    }  # fmt: skip


def right_end(job: dict[str, Any], sort: Sort) -> str:
    """What is wrong with how a job ended; empty for nothing."""
    if job["state"] != sort.ends:
        return f"is {job['state']}, and should be {sort.ends}: {job.get('detail')}"
    if sort.ends == "failed" and job["exit_code"] != OWN_FAULT:
        return f"failed with {job['exit_code']}, not with its own {OWN_FAULT}"
    return ""
