"""`godwit costs`, `budget` and `top` against a scripted control plane; tables fit 80 columns."""

import json
from typing import Any

import pytest
from godwit.cli.exits import ExitCode

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane

LONG = "a-project-with-a-long-name-" + "x" * 30


def row(key: str, **more: Any) -> dict[str, Any]:
    """What one key cost."""
    return {
        "key": key, "label": key, "usd": 1_234_567.89, "spot_usd": 123_456.78,
        "gpu_s": {"busy": 3_600_000_000.0, "idle": 360_000_000.0},
        "usd_by_reason": {"busy": 1_000_000.0, "idle": 234_567.89}, **more,
    }  # fmt: skip


BUDGET = {
    "subject": "project", "key": "ml", "label": LONG, "budget_usd": 1_000_000.0, "spent_usd": 800_000.0,
    "usd_per_hour": 1_234.5, "since": AT, "on_spent": "stop-new", "alerts": [0.5, 0.8], "ends_at": 4_000_000_000.0,
}  # fmt: skip
LOST = {
    "kind": "fragmentation", "subject": LONG, "usd": 234_567.89, "gpu_s": 1.0, "message": "GPUs that nobody used " * 4,
    "would_avoid": "jobs packed on fewer nodes",
}  # fmt: skip


def costs(*rows: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    """An answer of the ledger."""
    return {
        "by": "project", "since": AT - 604_800, "until": AT, "settled_until": AT - 3_600, "total": row("", label="all"),
        "rows": list(rows), "next_cursor": cursor, "waste": [LOST], "lost_usd": 234_567.89, "budgets": [BUDGET],
        "series": {"bucket_s": 3600, "at": [AT], "reasons": [], "usd": {}, "gpu_s": {}}, "usd_per_hour": 1_234.5,
        "services": [row("ml/chat", label="chat", tokens=123_456_789_012, usd_per_million_tokens=10.25)],
    }  # fmt: skip


def fits(text: str) -> bool:
    """Whether no line of the tables is wider than 80 columns."""
    return all(len(line) <= 80 for line in text.splitlines() if "would have been" not in line)


def test_costs_are_told_by_project_with_what_was_lost(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/costs", costs(row(LONG)))
    assert godwit("costs", "--since", "7d") == ExitCode.OK
    said = capsys.readouterr()
    assert fits(said.out)
    assert "$1,234,567.89" in said.out
    assert "fragmentation would have been avoided by jobs packed" in said.out
    assert "800,000.00 of $1,000,000.00" in said.err
    asked = scripted.asked[0].url.params
    assert asked["by"] == "project"
    assert float(asked["since"]) > 1e9


def test_services_are_told_with_the_price_of_a_million_tokens(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/costs", costs())
    assert godwit("costs", "--by", "service") == ExitCode.OK
    said = capsys.readouterr().out
    assert fits(said)
    assert "$10.25" in said


def test_costs_are_told_to_programs_whole(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/costs", costs(row("a")))
    assert godwit("costs", "--by", "job", "-o", "json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["rows"][0]["key"] == "a"


def test_a_time_that_is_none_is_refused(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert godwit("costs", "--since", "yesterday") == ExitCode.USAGE
    assert "7d" in capsys.readouterr().err
    assert scripted.asked == []


def test_budgets_are_listed_set_and_taken_away(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/budgets", {"budgets": [BUDGET]})
    scripted.on("PUT", "/v1/projects/ml/budget", BUDGET)
    scripted.on("DELETE", "/v1/projects/ml/budget", "", 204)
    assert godwit("budget") == ExitCode.OK
    assert godwit("budget", "set", "ml", "1000000", "--then", "stop-new") == ExitCode.OK
    assert json.loads(scripted.asked[-1].content) == {"budget_usd": 1_000_000.0, "on_spent": "stop-new"}
    assert godwit("budget", "set", "ml", "none") == ExitCode.OK
    assert godwit("budget", "set", "ml", "much") == ExitCode.USAGE
    said = capsys.readouterr()
    assert fits(said.out)
    assert "stop-new" in said.out


OVERVIEW = {
    "at": AT,
    "broken": {
        "usd_per_hour": 2.5, "gpus": 1, "nodes": 1, "incidents": 0, "open_incidents": [], "providers": [],
        "lost_nodes": [
            {"node_id": "node-1", "provider": "aws", "region": "r", "since": AT, "gpus": 8, "usd_per_hour": 20.0,
             "detail": "", "jobs": []}
        ],
    },
    "idle": {
        "gpus": 3, "usd_per_hour": 7.5, "held_gpus": 0, "held_usd_per_hour": 0.0,
        "nodes": [
            {"node_id": "node-2", "provider": "aws", "region": "r", "gpus": 3, "of_gpus": 8, "since": None,
             "usd_per_hour": 7.5}
        ],
    },
    "waiting": {
        "jobs": 1, "gpus": 64, "oldest_since": AT - 60,
        "first": [
            {"id": "job-1", "name": LONG, "project": "ml", "kind": "train", "state": "queued", "priority": 0,
             "gpus": "H100:8", "nodes": "8", "gpus_wanted": 64, "since": AT - 60, "why": "sold out " * 20}
        ],
    },
    "services": [],
    "money": {
        "usd_per_hour": 40.0, "usd_today": 100.0, "spot_usd_per_hour": 0.0, "busy_usd_per_hour": 30.0,
        "usd_per_hour_by_provider": {"aws": 40.0},
    },
    "counts": {
        "nodes": {"ready": 2}, "gpus": {"busy": 12, "idle": 3, "broken": 1}, "jobs": {"running": 1, "queued": 1},
    },
}  # fmt: skip


def test_the_fleet_is_told_on_one_screen(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/overview", OVERVIEW)
    assert godwit("top", "--once") == ExitCode.OK
    said = capsys.readouterr().out
    assert fits(said)
    for words in (
        "$40.00/h, 75% of it at work",
        "12 busy",
        "node node-1 at aws is not heard",
        "3 of 8 GPUs",
        "sold out",
    ):
        assert words in said
