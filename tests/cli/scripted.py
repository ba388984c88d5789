"""A control plane that a test scripts: a function from request to answer, behind the real client."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from godwit.cli.client import ControlPlane
from godwit.cli.connection import Connection

Answer = Callable[[httpx.Request], httpx.Response]
Godwit = Callable[..., int]
"""Runs the command line in this process; returns the exit code."""

AT = 1_790_000_000.0


@dataclass
class ScriptedControlPlane:
    """Answers by (method, path); remembers what it was asked."""

    routes: dict[tuple[str, str], Answer] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)

    def on(self, method: str, path: str, body: Any = None, status: int = 200) -> None:
        """Answer every such request with `body` as JSON, or with text when it is a string."""
        text = body if isinstance(body, str) else json.dumps(body)
        self.routes[method, path] = lambda _request: httpx.Response(status, text=text)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the transport calls."""
        self.asked.append(request)
        known = self.routes.get((request.method, request.url.path))
        if known is None:
            return httpx.Response(404, json=problem("not-found", f"there is no {request.url.path}", 404))
        return known(request)

    def client(self) -> ControlPlane:
        """A client of it that never waits between repeats."""
        connection = Connection("http://control.test", "secret-token")
        return ControlPlane(connection, httpx.MockTransport(self.answer), pause=lambda _s: None)

    def paths(self) -> list[str]:
        """What was asked, as "METHOD /path"."""
        return [f"{request.method} {request.url.path}" for request in self.asked]


def problem(code: str, detail: str, status: int, problems: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A problem-details body."""
    return {"title": code, "status": status, "detail": detail, "code": code, "problems": problems or []}


def job(**changes: Any) -> dict[str, Any]:
    """A JobView as JSON."""
    return {
        "id": "job-4f0zq1m2k7xv9a", "name": "digits", "project": "default", "kind": "train", "state": "running",
        "gpus": "H100:1", "nodes": "2", "priority": 0, "created_at": AT, "state_since": AT, "epoch": 1,
        "interruptions": 0, "progress": {"step": 12, "total_steps": 40, "metrics": {"loss": 0.3}, "at": AT},
        "exit_code": None, "detail": "", "array": None, "deadline_at": None, "budget_usd": None,
        "nodes_wanted": None, **changes,
    }  # fmt: skip


def detail(**changes: Any) -> dict[str, Any]:
    """A JobDetail as JSON."""
    return {**job(**changes), "spec": {"name": "digits", "run": "true"}, "attempts": [], "checkpoints": []}


def page(*items: Any, cursor: str | None = None) -> dict[str, Any]:
    """A page of a list."""
    return {"items": list(items), "next_cursor": cursor}


def sse(*events: tuple[str, str, dict[str, Any]]) -> str:
    """The text of an event stream of (kind, id, data)."""
    return "".join(f"event: {kind}\nid: {cursor}\ndata: {json.dumps(data)}\n\n" for kind, cursor, data in events)
