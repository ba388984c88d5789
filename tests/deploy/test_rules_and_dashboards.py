"""Alert rules and dashboards speak of metrics that exist, and rules fire on recorded series when they should."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import promtool
from tests.deploy import metrics_page

ROOT = metrics_page.ROOT
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
TESTS = ROOT / "deploy" / "prometheus" / "rules_test.yaml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))

NAME = re.compile(r"\b(godwit_[a-z0-9_]+|DCGM_FI_[A-Z0-9_]+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"([A-Za-z_]+)\s*(?:=~|!~|!=|=)")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression stands, and the expression."""
    for rule in rules():
        yield f"{RULES.name}: {rule['alert']}", rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.name}: {panel['title']}", target["expr"]


def test_every_metric_and_label_in_rules_and_dashboards_is_exported() -> None:
    known, seen = metrics_page.known(), 0
    for where, expression in expressions():
        for name, matchers in NAME.findall(expression):
            stem = re.sub(r"_(bucket|sum|count)$", "", name)
            of = known.get(name) or known.get(stem)
            assert of is not None, f"{where}: nothing exports {name}"
            assert name == of.name or of.kind == "histogram", f"{where}: {of.name} is no histogram"
            assert set(LABEL.findall(matchers)) <= {*of.labels, "le", "instance"}, where
            seen += 1
    assert seen > 60


def test_the_page_of_metrics_is_what_the_code_exports() -> None:
    assert metrics_page.PAGE.read_text() == metrics_page.page(), "run python -m tests.deploy.metrics_page"


def test_every_alert_says_how_bad_it_is_and_has_its_section_in_the_runbook() -> None:
    sections = re.findall(r"^### (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "warn"}
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
    assert sections == [rule["alert"] for rule in rules()]


def test_every_alert_is_tried_on_series_for_it_and_on_calm_ones() -> None:
    names = {case["name"] for case in yaml.safe_load(TESTS.read_text())["tests"]}
    for rule in rules():
        assert {f"{rule['alert']} fires in time", f"{rule['alert']} stays silent"} <= names


def test_every_expression_can_be_read_as_prometheus_reads_it() -> None:
    parser = pytest.importorskip("promql_parser", reason="promql-parser is not installed")
    for where, expression in expressions():
        try:
            parser.parse(expression.replace("$__rate_interval", "5m"))
        except ValueError as exc:
            pytest.fail(f"{where}: {exc}")


@promtool.needs_promtool
def test_rules_fire_on_recorded_series_as_promtool_sees_them() -> None:
    assert promtool.FOUND is not None
    told = subprocess.run(
        [promtool.FOUND, "test", "rules", str(TESTS)], capture_output=True, text=True, timeout=240, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_imported_anywhere(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"].startswith("godwit-")
    assert board["id"] is None
    assert next(one["type"] for one in board["templating"]["list"]) == "datasource"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    for panel in board["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    assert len(places) == len(set(places))
