"""A fleet of real processes that fire drills break: what a test orders, and what it may ask."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.end_to_end.conftest import System

PATIENCE_S = 300.0
"""For each step: on two busy cores a Ray that starts takes a minute, and may have to be started twice."""

HEARTBEATS_S = 3.0
"""Longer than a heartbeat may be on its way: who is heard after that was not killed, or lives again."""


@contextmanager
def started(home: Path, config: str) -> Iterator[System]:
    """A control plane with this configuration; everything of it ends with the test."""
    system = System(home)
    home.mkdir(mode=0o700)
    (home / "config.yaml").write_text(config)
    up = system.godwit("up", "--detach")
    assert up.returncode == 0, up.stderr
    yield system
    down = system.godwit("down")
    assert down.returncode == 0, down.stderr


class Fleet:
    """Jobs whose program and specifications lie in `folder`, and what happened to them and to their nodes."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system, self._folder = system, folder
        url = json.loads((system.home / "control_plane.json").read_text())["url"]
        token = (system.home / "token").read_text().strip()
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)

    def submit(self, name: str, text: str) -> None:
        """A job of this name, as its specification says."""
        spec = self._folder / f"{name}.yaml"
        spec.write_text(text)
        ended = self._system.godwit("run", "-y", "--detach", str(spec))
        assert ended.returncode == 0, ended.stderr

    def drill(self, kind: str, where: str) -> None:
        """Break something: a node, one GPU of it (NODE:INDEX), or a job's program."""
        ended = self._system.godwit("drill", kind, where)
        assert ended.returncode == 0, ended.stderr

    def job(self, name: str) -> dict[str, Any]:
        """How a job stands."""
        return dict(self._get(f"/v1/jobs/{name}"))

    def goes_on(self, name: str, after: int = 0) -> bool:
        """Whether the job runs in an attempt after this one (its epoch), and has saved a step there."""
        job = self.job(name)
        has_saved = any(one["epoch"] == job["epoch"] > after for one in job["checkpoints"])
        return bool(job["state"] == "running" and has_saved)

    def outcome(self, name: str, epoch: int) -> str:
        """How an attempt of a job ended."""
        return str(next(one["outcome"] for one in self.job(name)["attempts"] if one["epoch"] == epoch))

    def events(self, **of: str) -> list[dict[str, Any]]:
        """What happened, oldest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get("/v1/events", limit="1000", **of, **({"cursor": cursor} if cursor else {}))
            found, cursor = found + page["items"], page["next_cursor"]
        return found

    def node_of(self, name: str) -> str:
        """Where a job was placed last."""
        return str(self.job(name)["attempts"][-1]["slots"][0]["node_id"])

    def is_heard_again(self, node: str) -> bool:
        """Whether a node's agent was heard well after it was drilled."""
        drilled = [event["at"] for event in self.events(node=node) if event["kind"] == "node.drill"][-1]
        return bool(self._get(f"/v1/nodes/{node}")["last_seen_at"] > drilled + HEARTBEATS_S)

    def decided(self, node: str, code: str) -> dict[str, Any] | None:
        """What was decided about a finding that called for nothing."""
        found = [e for e in self.events(node=node) if e["kind"] == "node.finding-decided"]
        return next((e for e in found if e["data"]["code"].startswith(code)), None)

    def incidents(self, node: str) -> list[dict[str, Any]]:
        """All incidents of a node, those that are over too."""
        return list(self._get("/v1/incidents", all="true", node=node)["items"])

    def is_over(self, node: str) -> bool:
        """Whether there was an incident, and none is left."""
        found = self.incidents(node)
        return bool(found) and all(incident["state"] == "closed" for incident in found)

    def findings(self, incident_id: str) -> list[dict[str, Any]]:
        """What an incident was opened for."""
        return list(self._get(f"/v1/incidents/{incident_id}")["findings"])

    def restored_from(self, name: str) -> tuple[int, int]:
        """The step that the newest attempt went on from, and the newest that any before it had told as saved."""
        job = self.job(name)
        events = self.events(job=job["id"])
        told = [event["data"] for event in events if event["kind"] == "job.restored"]
        saved = [event["data"] for event in events if event["kind"] == "job.checkpoint"]
        return int(told[-1]["step"]), max(int(one["step"]) for one in saved if one["epoch"] < job["epoch"])

    def print_detection(self, node: str) -> None:
        """How soon after each drill something was found, and was out of placement."""
        drill: dict[str, Any] | None = None
        told: dict[str, float] = {}
        for event in [*self.events(node=node), {"kind": "node.drill", "data": {}}]:
            if event["kind"] == "node.drill":
                if drill is not None:
                    print(f"{drill['data']['kind']}: {told} s after the drill")
                drill, told = event, {}
            elif drill is not None and event["kind"] in {"node.finding", "health.state"}:
                told.setdefault(event["kind"], round(event["at"] - drill["at"], 2))

    def _get(self, path: str, **params: str) -> Any:
        # Not by the command line: to start it ten times a second would take what the fleet needs.
        answer = self._http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()
