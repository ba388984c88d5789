"""The attempt's entrypoint as a Ray job, through the dashboard's REST API; Ray itself is never imported here."""

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from godwit.agents.confinement import owner
from godwit.agents.runtime import ray_cluster
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.guard import write_whole
from godwit.domain.errors import GodwitError
from godwit.domain.wire.agents import StartAttempt

POLL_S = 0.05
"""While the cluster comes up somebody waits for each of these; an idle cluster is not asked."""

FINAL = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
"""Ray's final job states (ray.dashboard.modules.job.common.JobStatus, 2.60)."""


class ClusterNotReady(GodwitError):
    """The Ray cluster did not come up in time."""


class SubmissionRefused(GodwitError):
    """Ray refuses the job; repeating it is useless."""


class RayJob:
    """The job of one attempt. `going_on()` says whether to keep waiting; False makes every wait end.

    `variables` are what its environment says beyond that of Ray's own processes.
    """

    def __init__(
        self,
        command: StartAttempt,
        folder: AttemptFolder,
        going_on: Callable[[], bool],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._folder = folder
        self._going_on = going_on
        self._runtime_env = {"runtime_env": {"env_vars": dict(variables)}} if variables else {}
        # Proxies are for the way out, never for the attempt's own cluster.
        self._client = httpx.Client(
            base_url=ray_cluster.dashboard_url(command),
            headers={"Authorization": f"Bearer {command.ray_token}"},
            timeout=30,
            trust_env=False,
        )

    def wait_for_nodes(self, timeout_s: float) -> None:
        """Wait until every node of the gang is alive in Ray; raises `ClusterNotReady` after `timeout_s`."""
        wanted = len(self._command.peers)
        deadline = time.monotonic() + timeout_s
        alive = 0
        while self._going_on() and alive < wanted:
            if time.monotonic() > deadline:
                raise ClusterNotReady(f"{alive} of {wanted} nodes joined the Ray cluster within {timeout_s:g} s")
            time.sleep(POLL_S)
            alive = self._alive() if wanted > 1 else wanted

    def submit(self, timeout_s: float) -> None:
        """Submit the job, once the cluster takes it; a job that was submitted already is left as it is."""
        body = {
            "entrypoint": f"exec sh {shlex.quote(str(write_program(self._command, self._folder)))}",
            "submission_id": self._command.attempt_id,
            "metadata": {"job_id": self._command.job_id, "job_name": self._command.job_name},
            **self._runtime_env,
        }
        deadline, said = time.monotonic() + timeout_s, "it did not answer"
        while self._going_on():
            if time.monotonic() > deadline:
                raise ClusterNotReady(f"Ray did not take the job within {timeout_s:g} s: {said}")
            try:
                response = self._client.post("/api/jobs/", json=body)
            except httpx.HTTPError as exc:
                said = f"{type(exc).__name__}: {exc}"
            else:
                said = response.text[-500:]
                if response.is_success or "already exists" in response.text:
                    return
                if 400 <= response.status_code < 500 and response.status_code != 404:  # 404: routes come up late
                    raise SubmissionRefused(f"Ray refuses the job ({response.status_code}): {said}")
            time.sleep(POLL_S)

    def ended(self) -> tuple[str, int | None] | None:
        """Ray's word on a job that ended, and the driver's exit code; None while it runs or Ray does not answer."""
        try:
            response = self._client.get(f"/api/jobs/{self._command.attempt_id}", timeout=5)
        except httpx.HTTPError:
            return None  # the guard sees a Ray that died; slow is not dead
        if not response.is_success:
            return None
        job = response.json()
        if job["status"] not in FINAL:
            return None
        return str(job.get("message") or job["status"]), job.get("driver_exit_code")

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _alive(self) -> int:
        try:
            response = self._client.get("/nodes", params={"view": "summary"}, timeout=5)
            nodes = response.json()["data"]["summary"] if response.is_success else []
        except (httpx.HTTPError, ValueError, KeyError):
            return 0  # the dashboard is not up yet
        return sum(1 for node in nodes if node.get("raylet", {}).get("state") == "ALIVE")


def write_program(command: StartAttempt, folder: AttemptFolder) -> Path:
    """Write the wrapper that runs the job's command and leaves its pid and exit code for the agent.

    The output goes straight into the attempt's log: no byte waits for a poll of Ray's own log routes.
    """
    script = folder.root / "program.sh"
    user_script = folder.root / "run.sh"
    write_whole(user_script, command.run + "\n")
    restored = folder.run / "restored"
    entry = owner.text(folder.run, restored) if restored.exists() else ""
    q = shlex.quote
    exports = [f"export CUDA_VISIBLE_DEVICES={','.join(map(str, command.gpus))}"] if command.gpus else []
    exports += [f"export GODWIT_RESTORED_CHECKPOINT={q(entry)}"] if entry else []
    lines = [
        "#!/bin/sh",
        f"exec >>{q(str(folder.output))} 2>&1 </dev/null",
        f"cd {q(str(folder.workdir))} || exit 1",
        *exports,
        *_left_behind(folder.run / "program.pid", "$$"),
        f"sh {q(str(user_script))}",
        "code=$?",
        *_left_behind(folder.run / "exit_code", "$code"),
        "exit $code",
    ]
    write_whole(script, "\n".join(lines) + "\n")
    for path in (script, user_script):
        owner.give(path, like=folder.run)
    return script


def _left_behind(path: Path, value: str) -> list[str]:
    q = shlex.quote
    return [f"echo {value} >{q(str(path) + '.tmp')}", f"mv {q(str(path) + '.tmp')} {q(str(path))}"]
