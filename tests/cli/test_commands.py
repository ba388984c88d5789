"""Each command against a scripted control plane: what it asks, what it prints, how it exits."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from godwit.cli import watch, workdir
from godwit.cli.commands import explain, ps
from godwit.cli.exits import ExitCode
from godwit.domain.wire.arrays import ArrayView
from godwit.domain.wire.views import OutlookView

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, detail, job, page, problem, sse

LONG = "a-name-as-long-as-names-may-be-" + "x" * 32


def _gpu(index: int) -> dict[str, Any]:
    return {
        "index": index,
        "uuid": f"GPU-{index}",
        "model": "H100-SXM",
        "memory_gib": 80,
        "health": "healthy",
        "attempt_id": "at-1" if index == 0 else None,
        "job_id": None,
        "busy_percent": None,
    }


NODE = {
    "id": "node-4f0zq1m2k7xv9a",
    "state": "provisioning",
    "provider": "sim-borealis-with-a-long-name",
    "region": "europe-north-1",
    "instance_type": "gpu.h100.8",
    "instance_id": "i-1",
    "address": "127.18.0.3",
    "spot": True,
    "price_usd_per_hour": 20.5,
    "created_at": AT,
    "state_since": AT,
    "last_seen_at": None,
    "gpus": [_gpu(0), _gpu(1)],
    "leaves_at": None,
    "confinement": "",
    "detail": "",
}
OFFER = {
    "key": "sim-aurora/us-east/-/h100.8/on-demand",
    "provider": "sim-borealis-with-a-long-name",
    "region": "europe-north-1",
    "zone": None,
    "instance_type": "an-instance-type-with-a-long-name.8x",
    "gpu_model": "H100-SXM",
    "gpu_count": 8,
    "gpu_memory_gib": 80,
    "cpus": 200,
    "memory_gib": 1800,
    "price_usd_per_hour": 1023.92,
    "price_usd_per_gpu_hour": 127.99,
    "spot": False,
    "capacity": 4,
    "seen_at": AT,
    "source": "live",
    "held_until": 4_000_000_000.0,
    "held_because": "no capacity",
    "trust": 0.9,
}
CALLS = {"window_s": 900.0, "calls": 1000, "errors": {"RateLimited": 3}, "median_s": 0.12, "p99_s": 1.5}
PROVIDER = {
    "name": LONG,
    "reachable": True,
    "offers": 12,
    "nodes": 3,
    "last_contact_at": AT,
    "detail": "d" * 90,
    "offers_at": AT,
    "offers_trouble": "",
    "offers_trouble_since": None,
    "foreign": 1234,
    "foreign_ids": ["i-1", "i-2"],
    "calls": CALLS,
    "calls_by_method": {"instances": CALLS},
}
PLAN = {
    "feasible": True,
    "price_usd_per_hour": 4.2,
    "refusals": [],
    "actions": [
        {
            "action": "buy",
            "reason": "cheapest that fits",
            "offer": "sim-aurora/us-east/-/h100.1/on-demand",
            "node_id": None,
            "price_usd_per_hour": 2.1,
        }
    ]
    * 2,
}
WAITS = {
    "feasible": False,
    "actions": [],
    "price_usd_per_hour": 0.0,
    "refusals": [
        {
            "code": "no-capacity",
            "subject": "sim-aurora",
            "message": "has no H100 left",
            "would_help": "wait, or accept H200",
        }
    ],
}
LISTS = [
    ("ps", "/v1/jobs", job(name=LONG, gpus="H100-SXM|H200-SXM|A100-80GB-SXM:8", nodes="128..4096")),
    ("nodes", "/v1/nodes", NODE),
    ("offers", "/v1/offers", OFFER),
    ("providers", "/v1/providers", PROVIDER),
]


WHOLE = {
    "ps": ["ID", "STATE", "NODES", "STEP", "AGE"],
    "nodes": ["ID", "STATE", "GPUS", "BUSY", "PRICE/H", "HEARD"],
    "offers": ["GPUS", "SPOT", "PRICE/H", "GPU/H", "LEFT", "SEEN"],
    "providers": ["REACHABLE", "OFFERS", "NODES", "FOREIGN", "CONTACT"],
}
WHOLE_CELLS = {
    "ps": ["job-4f0zq1m2k7xv9a", "running", "128..4096", "12/40"],
    "nodes": ["node-4f0zq1m2k7xv9a", "provisioning", "H100-SXM:2", "1/2", "$20.50*"],
    "offers": ["H100-SXM:8", "no", "$1,023.92", "$127.99", "4!"],
    "providers": ["yes", "12", "3", "1234"],
}


@pytest.mark.parametrize(("command", "path", "item"), LISTS)
def test_a_table_fits_eighty_columns_whatever_the_names(
    command: str,
    path: str,
    item: dict[str, Any],
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted.on("GET", path, page(item, item))
    assert godwit(command) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("!")]
    assert len(table) == 3
    assert max(len(line) for line in table) <= 80
    assert "…" in table[1], "the names are cut, and nothing else:"
    assert [title for title in WHOLE[command] if title not in table[0]] == []
    assert [cell for cell in WHOLE_CELLS[command] if cell not in table[1].split()] == []


@pytest.mark.parametrize(("command", "path", "item"), LISTS)
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_programs_get_everything(
    command: str,
    path: str,
    item: dict[str, Any],
    form: str,
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted.on("GET", path, page(item))
    assert godwit(command, "-o", form) == 0
    out = capsys.readouterr().out
    assert (json.loads(out) if form == "json" else yaml.safe_load(out)) == [item]


@pytest.mark.parametrize(("command", "path", "item"), LISTS)
def test_an_empty_list_says_what_to_do(
    command: str,
    path: str,
    item: dict[str, Any],
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted.on("GET", path, page())
    assert godwit(command) == 0
    assert len(capsys.readouterr().out.split()) > 2


def test_ps_shows_the_living_and_the_last_that_ended(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = [job(id=f"job-ended{number:09}", state="succeeded") for number in range(20)]
    alive = page(job(id="job-alive000000000"))
    newest = page(*ended)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=alive if request.url.params.get_list("state") else newest)

    scripted.routes["GET", "/v1/jobs"] = answer
    assert godwit("ps", "-o", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1 + ps.RECENT
    assert godwit("ps", "-a", "-o", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 20


def test_a_job_that_is_not_there_exits_with_three(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert godwit("explain", "nothing") == ExitCode.NOT_FOUND
    assert "there is no" in capsys.readouterr().err


def test_explain_tells_who_refused_and_when_they_are_asked_again(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = {**WAITS["refusals"][0], "retry_at": 4_000_000_000.0}  # type: ignore[index]
    view = {
        "job": job(state="queued"),
        "headline": "it waits for capacity",
        "refusals": [refusal],
        "last_lines": [],
        "events": [],
    }
    scripted.on("GET", "/v1/jobs/digits/explain", view)
    assert godwit("explain", "digits") == 0
    told = capsys.readouterr().out
    assert "sim-aurora: has no H100 left (asked again in " in told
    assert "would help: wait, or accept H200" in told


def test_explain_shows_exit_code_and_last_lines_of_a_failed_program(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = job(state="failed", exit_code=3)
    view = {"job": failed, "headline": "its program failed", "refusals": [], "last_lines": ["boom"], "events": []}
    scripted.on("GET", "/v1/jobs/digits/explain", view)
    assert godwit("explain", "digits") == 0
    told = capsys.readouterr().out
    assert "exit code 3" in told
    assert "  boom" in told


def test_logs_prints_what_there_is(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/jobs/digits/logs", "one\ntwo\n")
    assert godwit("logs", "digits", "--tail", "2") == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert scripted.asked[0].url.params["tail"] == "2"


def test_logs_say_why_there_may_be_none(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/jobs/digits/logs", "")
    assert godwit("logs", "digits") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "over for longer than output is kept" in said.err


def test_logs_can_follow_to_the_end(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = sse(("log", "1", {"epoch": 1, "text": "a\n"}), ("end", "2", {"state": "failed", "exit_code": 3}))
    scripted.on("GET", "/v1/jobs/digits/logs/stream", stream)
    assert godwit("logs", "-f", "digits") == 0
    told = capsys.readouterr()
    assert told.out == "a\n"
    assert "failed with exit code 3" in told.err


def test_events_keep_the_newest(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    happened = [
        {
            "seq": seq,
            "at": AT,
            "kind": "node.state",
            "subject": "node",
            "subject_id": "node-1",
            "reason": f"r{seq}",
            "actor": "planner",
            "old": "ready",
            "new": "lost",
        }
        for seq in range(5)
    ]
    scripted.on("GET", "/v1/events", page(*happened))
    assert godwit("events", "--limit", "2") == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["r3", "r4"]


def test_the_end_of_a_machines_log_stands_below_what_happened_to_it(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    happened = {
        "seq": 1, "at": AT, "kind": "node.startup-failure", "subject": "node", "subject_id": "node-1",
        "reason": "its startup script gave up: no Python", "actor": "startup script of node-1",
        "data": {"last_lines": ["first", "godwit: gave up: no Python"]},
    }  # fmt: skip
    scripted.on("GET", "/v1/events", page(happened))
    assert godwit("events", "--node", "node-1") == 0
    told, *lines = capsys.readouterr().out.splitlines()
    assert told.endswith("node node-1 startup-failure: its startup script gave up: no Python")
    assert lines == ["  first", "  godwit: gave up: no Python"]


def test_cancel_says_where_the_job_stands(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/jobs/digits/cancel", job(state="stopping"), 202)
    assert godwit("cancel", "digits") == 0
    assert "stopping" in capsys.readouterr().out


def test_gpus_that_are_not_healthy_are_told_of_and_only_then(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/nodes", page(NODE))
    assert godwit("nodes") == 0
    assert "HEALTH" not in capsys.readouterr().out
    sick = NODE | {"id": "node-sick", "gpus": [_gpu(0) | {"health": "faulty"}, _gpu(1) | {"health": "faulty"}]}
    scripted.on("GET", "/v1/nodes", page(NODE, sick))
    assert godwit("nodes") == 0
    title, well, ill = capsys.readouterr().out.splitlines()
    assert title.split()[4:7] == ["BUSY", "HEALTH", "PRICE/H"]
    assert (" ok " in well, " 2 faulty " in ill) == (True, True)


def test_a_drill_names_the_node(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/drills", {"intent_id": "in-1", "node_id": "node-1", "kind": "node-loss"}, 202)
    assert godwit("drill", "node-loss", "node-1") == 0
    assert json.loads(scripted.asked[0].content) == {"kind": "node-loss", "node_id": "node-1", "gpu": None}


def test_a_drill_of_a_program_names_the_job_and_no_gpu(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/drills", {"intent_id": "in-1", "node_id": "node-7", "kind": "hang"}, 202)
    assert godwit("drill", "hang", "digits") == 0
    assert godwit("drill", "straggler", "digits:2") == 0
    assert [json.loads(asked.content) for asked in scripted.asked] == [
        {"kind": "hang", "job": "digits", "gpu": None},
        {"kind": "straggler", "job": "digits", "gpu": 2},
    ]
    assert "godwit events --node node-7 -f" in capsys.readouterr().err


def test_a_drill_of_one_gpu_names_it(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/drills", {"intent_id": "in-1", "node_id": "node-1", "kind": "gpu-lost", "gpu": 3}, 202)
    assert godwit("drill", "gpu-lost", "node-1:3") == 0
    assert json.loads(scripted.asked[0].content) == {"kind": "gpu-lost", "node_id": "node-1", "gpu": 3}
    assert godwit("drill", "gpu-lost", "node-1") == 2
    assert "name it, as in node-1:0" in capsys.readouterr().err
    assert godwit("drill", "gpu-lost", "node-1:three") == 2
    assert godwit("drill", "--help") == 0
    assert "xid-13: a program makes a mistake (Xid 13)" in capsys.readouterr().out


def _ready(scripted: ScriptedControlPlane, plan: dict[str, Any] = PLAN) -> None:
    scripted.on("POST", "/v1/plans", plan)
    scripted.on("POST", "/v1/jobs", job(state="queued"), 202)
    scripted.routes["HEAD", "/v1/archives/x"] = scripted.routes["POST", "/v1/jobs"]


def test_run_plans_uploads_and_submits_in_that_order(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "train.yaml").write_text("name: digits\nrun: python train.py\nworkdir: src\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("print()")
    _ready(scripted)
    digest = workdir.pack(tmp_path / "src").digest
    scripted.on("PUT", f"/v1/archives/{digest}", {"digest": digest, "size_bytes": 9})
    assert godwit("run", str(tmp_path / "train.yaml"), "-y", "--detach") == 0
    assert scripted.paths() == [
        "POST /v1/plans", f"HEAD /v1/archives/{digest}", f"PUT /v1/archives/{digest}", "POST /v1/jobs",
    ]  # fmt: skip
    assert json.loads(scripted.asked[-1].content)["workdir_digest"] == digest
    told = capsys.readouterr()
    assert told.out.strip() == "job-4f0zq1m2k7xv9a"
    assert "buy 2 x sim-aurora/us-east/-/h100.1/on-demand $2.10/h: cheapest that fits" in told.err
    assert "in all $4.20/h" in told.err


def test_options_of_run_become_keys_of_the_specification(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    _ready(scripted)
    array = ArrayView(id="array-1", name="true", project="default", size=50, created_at=AT, states={"queued": 50})
    scripted.on("POST", "/v1/jobs", array.model_dump(mode="json"), 202)
    options = [
        "--count", "50", "--after", "prep", "--after", "clean:ended", "--run-time", "6h", "--deadline", "+48h",
        "--budget", "400", "--priority", "-7",
    ]  # fmt: skip
    assert godwit("run", *options, "-y", "--detach", "--", "true") == 0
    sent = json.loads(scripted.asked[-1].content)
    assert sent | {"name": "true", "run": "true"} == sent
    assert {key: sent[key] for key in ("count", "after", "run_time", "deadline", "budget_usd", "priority")} == {
        "count": 50, "after": ["prep", {"job": "clean", "when": "ended"}], "run_time": "6h", "deadline": "+48h",
        "budget_usd": 400.0, "priority": -7,
    }  # fmt: skip


def test_a_dry_run_prints_all_figures_of_the_plan_for_programs(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    buy = {"action": "buy-node", "reason": "cheapest", "offer": "sim/h100", "arithmetic": "$2.26 per hour of work"}
    view = {"feasible": True, "actions": [buy], "refusals": [], "price_usd_per_hour": 2.0, "count": 1}
    scripted.on("POST", "/v1/plans", view)
    assert godwit("run", "--dry-run", "-o", "json", "--", "true") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["actions"][0]["arithmetic"] == "$2.26 per hour of work"
    assert godwit("run", "--dry-run", "--", "true") == 0
    assert "per hour of work" not in capsys.readouterr().err
    assert godwit("run", "-o", "json", "-y", "--", "true") == ExitCode.USAGE


def test_a_workdir_that_is_there_already_is_not_sent_again(
    scripted: ScriptedControlPlane, godwit: Godwit, tmp_path: Path
) -> None:
    _ready(scripted)
    digest = workdir.pack(tmp_path).digest
    scripted.on("HEAD", f"/v1/archives/{digest}", "")
    assert godwit("run", "--workdir", str(tmp_path), "-y", "--detach", "--", "true") == 0
    assert not [path for path in scripted.paths() if path.startswith("PUT")]


def test_a_command_that_names_a_file_here_is_told_that_it_stays_here(
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted.on("POST", "/v1/plans", {"feasible": True, "actions": [], "refusals": [], "price_usd_per_hour": 0.0})
    (tmp_path / "train.py").touch()
    monkeypatch.chdir(tmp_path)
    assert godwit("run", "--dry-run", "--", "python", "train.py") == 0
    assert "train.py stays here: add `--workdir .`" in capsys.readouterr().err
    for args in (["--workdir", ".", "--", "python", "train.py"], ["--", "python", "other.py"]):
        assert godwit("run", "--dry-run", *args) == 0
        assert "stays here" not in capsys.readouterr().err


def test_nothing_is_created_when_the_plan_refuses(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "train.yaml").write_text("name: digits\nrun: x\nworkdir: .\nresources:\n  gpus: H100:16\n")
    wrong = [
        {
            "path": ["resources", "gpus"],
            "message": "no offer has 16 GPUs",
            "accepted": ["1", "8"],
            "did_you_mean": "H100:8",
        }
    ]
    scripted.on("POST", "/v1/plans", problem("invalid-request", "it is wrong", 422, wrong), 422)
    assert godwit("run", str(tmp_path / "train.yaml"), "-y") == ExitCode.USAGE
    assert scripted.paths() == ["POST /v1/plans"]
    assert "train.yaml:5: resources.gpus: no offer has 16 GPUs; did you mean H100:8?" in capsys.readouterr().err


def test_nothing_is_asked_when_the_specification_is_wrong(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    assert godwit("run", "--gpus", "H100:99", "-y", "--", "true") == ExitCode.USAGE
    assert scripted.paths() == []


def test_nothing_is_submitted_when_nobody_can_confirm(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _ready(scripted)
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115 - the test's stand-in for a closed terminal
    assert godwit("run", "--", "true") == ExitCode.USAGE
    assert "add -y" in capsys.readouterr().err
    assert scripted.paths() == ["POST /v1/plans"]


@pytest.mark.parametrize(("plan", "code"), [(PLAN, ExitCode.OK), (WAITS, ExitCode.WAITS)])
def test_a_dry_run_submits_nothing_and_says_whether_it_would_wait(
    plan: dict[str, Any], code: ExitCode, scripted: ScriptedControlPlane, godwit: Godwit
) -> None:
    _ready(scripted, plan)
    assert godwit("run", "--dry-run", "--", "true") == code
    assert scripted.paths() == ["POST /v1/plans"]


NO = {"verdict": "no", "short_by": 0.31, "answer": "cannot finish by Fri 2026-11-27 18:00Z under $400: 31% short"}


def test_a_job_that_cannot_keep_to_its_limits_is_submitted_with_a_warning(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    _ready(scripted, PLAN | {"feasibility": NO})
    assert godwit("run", "-y", "--detach", "--", "true") == 0
    assert "cannot finish by Fri 2026-11-27 18:00Z under $400: 31% short" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["-y"], ["--dry-run"]])
def test_a_strict_owner_is_refused_before_anything_is_sent(
    options: list[str], scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    _ready(scripted, PLAN | {"feasibility": NO})
    assert godwit("run", "--strict", *options, "--", "true") == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "31% short" in told
    assert "without --strict it would be submitted" in told
    assert scripted.paths() == ["POST /v1/plans"]


def test_a_strict_owner_is_strict_with_the_control_plane_too(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    _ready(scripted, PLAN | {"feasibility": NO | {"verdict": "likely"}})
    assert godwit("run", "--strict", "-y", "--detach", "--", "true") == 0
    assert scripted.asked[-1].url.params["strict"] == "true"


def _followed(scripted: ScriptedControlPlane, **changes: Any) -> None:
    _ready(scripted)
    scripted.on("GET", f"/v1/jobs/{job()['id']}", detail(**changes))
    end = ("end", "2", {"state": "failed", "exit_code": 3})
    scripted.on("GET", f"/v1/jobs/{job()['id']}/logs/stream", sse(("log", "1", {"epoch": 1, "text": "hi\n"}), end))
    scripted.on("GET", "/v1/events/stream", "")


def test_run_exits_with_the_jobs_own_code(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    _followed(scripted, state="failed", exit_code=3)
    assert godwit("run", "-y", "--", "false") == 3
    told = capsys.readouterr()
    assert told.out == "hi\n"
    assert "godwit explain" in told.err


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _followed(scripted, state="running")

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "_print_until_final", interrupted)
    assert godwit("run", "-y", "--", "sleep 100") == 0
    assert "godwit logs -f digits" in capsys.readouterr().err
    assert not [path for path in scripted.paths() if path.endswith("cancel")]


def test_explain_says_the_place_in_the_queue_and_when_it_may_start() -> None:
    now = 1_000.0
    known = OutlookView(position=2, earliest=now + 60, latest=now + 300, because="2 nodes are expected to be free then")
    assert explain.expected(known, now) == (
        "place 2 in the queue; starts in 1m to 5m: 2 nodes are expected to be free then"
    )
    soon = known.model_copy(update={"latest": None})
    assert explain.expected(soon, now).startswith("place 2 in the queue; starts in 1m at the earliest")
    unknown = OutlookView(position=1, because="nobody knows")
    assert explain.expected(unknown, now) == "place 1 in the queue; nobody knows"
