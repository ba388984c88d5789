"""`godwit simulate`: policies side by side on files alone, what-ifs, a report, and plain refusals of bad input."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from godwit.cli.exits import ExitCode

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, detail, job, page

FLEET = "2 x H100-SXM:8 at $20/h on lambda"


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    rows = [
        f"{600 * number},{(1, 8, 4, 16)[number % 4]},{500 + 977 * number % 30_000},u{number % 3}"
        for number in range(80)
    ]
    path.write_text("\n".join(["submit_s,gpus,duration_s,user", *rows, "0,32,100,u"]))
    return str(path)


def test_policies_stand_side_by_side_in_eighty_columns(
    godwit: Godwit, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--policy",
        "time-sharing",
        "--policy",
        "fifo",
        "--policy",
        "easy-oracle",
        "--what-if",
        "add 1 x L4:8 at $5/h",
    ]
    assert godwit("simulate", trace, "--fleet", FLEET, *words) == ExitCode.OK
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "as it is (2 x H100-SXM:8; jobs: 80)"
    assert lines[1] == "left out, since no part of this fleet can hold them: 1"
    assert lines[2].split() == ["POLICY", "JCT", "P99", "WAIT", "SPAN", "UTIL", "FRAG", "STOPS", "COST"]
    assert [line.split()[0] for line in lines[3:6]] == ["time-sharing", "fifo", "easy-oracle"]
    assert "what if: add 1 x L4:8 at $5/h (2 x H100-SXM:8, 1 x L4:8; jobs: 80)" in lines


def test_the_same_question_has_the_same_answer(godwit: Godwit, trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    godwit("simulate", trace, "--fleet", FLEET)
    first = capsys.readouterr().out
    godwit("simulate", trace, "--fleet", FLEET)
    assert capsys.readouterr().out == first


def test_the_report_is_one_page_that_fetches_nothing_and_the_json_says_the_same(
    godwit: Godwit, trace: str, tmp_path: Path
) -> None:
    page, values = tmp_path / "report.html", tmp_path / "report.json"
    assert godwit("simulate", trace, "--fleet", FLEET, "--html", str(page), "--json", str(values)) == ExitCode.OK
    html = page.read_text()
    assert html.count("<svg") == 4, "utilization, waits, and the nodes under each of two policies"
    assert re.findall(r"https?://|<script|@import|<link", html) == []
    document = json.loads(values.read_text())
    assert [each["name"] for each in document["scenarios"]] == ["default", "time-sharing"]
    scenario = document["scenarios"][0]
    assert scenario["summary"]["jobs"] == sum(each["jobs"] for each in scenario["waits"]) == 80
    busy, edges = scenario["utilization"]["busy"], scenario["utilization"]["edges_s"]
    assert len(edges) == len(busy) + 1
    assert all(0 <= share <= 1 for share in busy)


def test_a_fleet_and_its_prices_may_be_files(
    godwit: Godwit, trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet, prices = tmp_path / "fleet.yaml", tmp_path / "prices.yaml"
    fleet.write_text('nodes: ["4 x H100-SXM:8"]\nprices: {"H100-SXM:8": 20}\n')
    prices.write_text('"H100-SXM:8": 0\n')
    assert godwit("simulate", trace, "--fleet", str(fleet), "--policy", "fifo") == ExitCode.OK
    assert "$" in capsys.readouterr().out
    assert godwit("simulate", trace, "--fleet", str(fleet), "--prices", str(prices), "--policy", "fifo") == ExitCode.OK
    assert "$" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fleet", "some nodes"], "is no description of nodes; write it as '80 x H100-SXM:8"),
        (["--fleet", "no.yaml"], "no.yaml cannot be read"),
        (["--fleet", FLEET, "--policy", "best"], "there is no policy 'best'; there are:"),
        (["--fleet", FLEET, "--what-if", "remove aws"], "there is none; there are: lambda"),
        (["--fleet", FLEET, "--from-day", "9"], "has no jobs in these days"),
    ],
)
def test_bad_input_is_refused_with_what_to_write_instead(
    godwit: Godwit, trace: str, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert godwit("simulate", trace, *words) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_a_trace_that_is_none_is_refused_with_its_line(
    godwit: Godwit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("submit_s,gpus,duration_s,user\n1,one,5,u\n")
    assert godwit("simulate", str(path), "--fleet", FLEET) == ExitCode.USAGE
    assert "line 2 of the trace: gpus is 'one'" in capsys.readouterr().err
    assert godwit("simulate", str(tmp_path / "none.csv"), "--fleet", FLEET) == ExitCode.USAGE
    assert "cannot be read" in capsys.readouterr().err


def test_without_a_trace_what_the_control_plane_has_on_record_is_simulated(
    godwit: Godwit, scripted: ScriptedControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = [{"node_id": f"node-{rank}", "rank": rank, "gpus": [0, 1, 2, 3], "released": True} for rank in range(2)]
    attempts = [_attempt(AT + 10.0, AT + 1000.0, slots), _attempt(AT + 2000.0, AT + 3000.0, slots)]
    scripted.on("GET", "/v1/jobs", page(job(id="job-1", state="succeeded"), job(id="job-2", state="cancelled")))
    scripted.on("GET", "/v1/jobs/job-1", {**detail(id="job-1", state="succeeded"), "attempts": attempts})
    scripted.on("GET", "/v1/jobs/job-2", detail(id="job-2", state="cancelled"))
    assert godwit("simulate", "--fleet", FLEET, "--policy", "fifo") == ExitCode.OK
    shown = capsys.readouterr().out
    assert "; jobs: 1)" in shown, "what never ran is nothing to simulate"
    assert "33m 10s" in shown, "990 s and 1,000 s of two attempts"


def _attempt(from_s: float, to_s: float, slots: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "at-1", "epoch": 1, "state": "ended", "outcome": "succeeded", "detail": "", "created_at": from_s,
        "state_since": to_s, "slots": slots,
    }  # fmt: skip
