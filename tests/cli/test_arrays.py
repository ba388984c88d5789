"""Arrays on the command line: one line, one explanation, one end, one exit code."""

import json
from typing import Any

import httpx
import pytest
from godwit.cli import arrays, following
from godwit.cli.client import Unreachable
from godwit.cli.exits import ExitCode
from godwit.domain.wire.arrays import ArrayView

from tests.cli.scripted import AT, Godwit, ScriptedControlPlane, job, page, problem

ID = "array-4f0zq1m2k7xv9a"
MEMBER = {"id": ID, "index": 0, "size": 50}


def array(**states: int) -> dict[str, Any]:
    """An ArrayView as JSON."""
    failed = states.get("failed", 0)
    return {
        "kind": "array", "id": ID, "name": "sweep", "project": "default", "size": sum(states.values()),
        "created_at": AT, "states": states, "first_failed": "sweep-7" if failed else None,
        "exit_code": 3 if failed else None,
    }  # fmt: skip


def ready(scripted: ScriptedControlPlane, **plan: Any) -> None:
    """A control plane that takes an array of fifty."""
    buy = {"action": "buy-node", "reason": "cheapest", "offer": "sim/h100", "price_usd_per_hour": 2.0}
    view = {"feasible": True, "actions": [buy], "refusals": [], "price_usd_per_hour": 2.0, "count": 50, **plan}
    scripted.on("POST", "/v1/plans", view)
    scripted.on("POST", "/v1/jobs", array(queued=50), 202)


def becomes(scripted: ScriptedControlPlane, *ones: dict[str, Any]) -> None:
    """Each time it is asked, the array stands as the next one says."""
    rest = list(ones)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=json.dumps(rest.pop(0) if len(rest) > 1 else rest[0]))

    scripted.routes["GET", f"/v1/arrays/{ID}"] = answer


def test_ps_shows_an_array_as_one_line_with_counts_by_state(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/jobs", page(job()))
    scripted.on("GET", "/v1/arrays", page(array(queued=38, running=10, failed=2)))
    assert godwit("ps") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {request.url.params.get("single") for request in scripted.asked if request.url.path == "/v1/jobs"} == {
        "true"
    }
    (line,) = {line for line in lines if ID in line}
    assert "sweep" in line
    assert "38 queued, 10 running, 2 f" in line


def test_ps_with_arrays_alone_does_not_say_that_there_are_no_jobs(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/jobs", page())
    scripted.on("GET", "/v1/arrays", page(array(queued=38)))
    assert godwit("ps") == 0
    assert "no jobs" not in capsys.readouterr().out


@pytest.mark.parametrize("option", ["-v", "-a"])
def test_ps_unfolds_arrays_when_asked_to(option: str, scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    scripted.on("GET", "/v1/jobs", page(job(name="sweep-0", array=MEMBER)))
    assert godwit("ps", option) == 0
    assert not [path for path in scripted.paths() if "arrays" in path]
    assert not [request for request in scripted.asked if "single" in request.url.params]


def test_programs_get_jobs_and_arrays(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("GET", "/v1/jobs", page(job()))
    scripted.on("GET", "/v1/arrays", page(array(queued=38)))
    assert godwit("ps", "-o", "json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[0] == job()
    assert [one["kind"] for one in listed[1:]] == ["array"] * 2


def test_cancel_and_explain_take_the_name_of_an_array(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.on("POST", "/v1/arrays/sweep/cancel", array(cancelled=38, running=12), 202)
    assert godwit("cancel", "sweep") == 0
    assert capsys.readouterr().out == f"sweep ({ID}): 12 running, 38 cancelled\n"
    view = {
        "job": job(name="sweep-10", state="queued"), "headline": "queued, waits for nodes", "refusals": [],
        "last_lines": [], "events": [], "array": array(queued=38, running=12),
        "estimate": {"left_s": 7_200.0, "source": "its owner"},
    }  # fmt: skip
    scripted.on("GET", "/v1/arrays/sweep/explain", view)
    assert godwit("explain", "sweep") == 0
    told = capsys.readouterr().out
    assert f"array sweep ({ID}): 38 queued, 12 running\nof the 38 that are queued the first:\n\nsweep-10 (" in told
    assert "expected to run 2h more, by its owner" in told


@pytest.mark.parametrize("command", ["cancel", "explain"])
def test_what_is_neither_a_job_nor_an_array_is_not_found(
    command: str, scripted: ScriptedControlPlane, godwit: Godwit
) -> None:
    assert godwit(command, "nobody") == ExitCode.NOT_FOUND
    assert len(scripted.asked) == 2


def test_only_what_is_not_there_is_looked_for_among_arrays(scripted: ScriptedControlPlane, godwit: Godwit) -> None:
    scripted.on("POST", "/v1/jobs/sweep/cancel", problem("conflict", "no", 409), 409)
    assert godwit("cancel", "sweep") == ExitCode.CONFLICT
    assert len(scripted.asked) == 1


def test_the_plan_of_an_array_is_that_of_one_job_and_says_how_many_there_are(
    scripted: ScriptedControlPlane, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    ready(scripted)
    assert godwit("run", "--count", "50", "-y", "--detach", "--", "true") == 0
    told = capsys.readouterr()
    assert told.out == f"{ID}\n"
    assert "true: train, 1 node(s), no GPU, x 50; of one of them:" in told.err
    assert "in all $100.00/h if all 50 run at once" in told.err
    assert "submitted 50 jobs, sweep-0 and on" in told.err


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({"succeeded": 50}, 0),
        ({"succeeded": 48, "failed": 1, "cancelled": 1}, 3),
        ({"succeeded": 49, "cancelled": 1}, 130),
    ],
)
def test_run_follows_all_of_an_array_and_exits_by_the_worst(
    states: dict[str, int],
    code: int,
    scripted: ScriptedControlPlane,
    godwit: Godwit,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrays, "POLL_S", 0.0)
    ready(scripted)
    becomes(scripted, array(queued=50), array(queued=40, running=10), array(queued=40, running=10), array(**states))
    assert godwit("run", "--count", "50", "-y", "--", "true") == code
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[godwit] sweep")]
    assert told[:2] == ["[godwit] sweep: 50 queued", "[godwit] sweep: 40 queued, 10 running"]
    assert "sweep ended after" in told[-1]
    assert len(told) == 4, "the same counts are not told twice"


def test_a_failed_job_without_a_code_of_its_own_is_a_failure() -> None:
    lost = ArrayView.model_validate({**array(failed=1), "exit_code": None})
    assert arrays.exit_code_of(lost) == ExitCode.FAILED


class Silent:
    """A status line that is off, and what was said instead."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.enabled = False

    def clear(self) -> None:
        """Nothing to clear."""


def test_following_outlives_a_control_plane_that_is_started_again(scripted: ScriptedControlPlane) -> None:
    silent, answers = Silent(), [0]

    def answer(_request: httpx.Request) -> httpx.Response:
        answers[0] += 1
        if answers[0] in {2, 3}:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, text=json.dumps(array(succeeded=50) if answers[0] > 3 else array(running=50)))

    scripted.routes["GET", f"/v1/arrays/{ID}"] = answer
    teller = arrays.Teller(silent, silent.said.append, lambda: 80)  # type: ignore[arg-type]
    final = arrays.to_the_end(scripted.client, ID, teller, lambda: 0.0, lambda _s: None)
    assert final.states == {"succeeded": 50}
    assert [line.partition("(")[0] for line in silent.said] == [
        "[godwit] sweep: 50 running",
        "[godwit] the control plane at http://control.test does not answer ",
        "[godwit] the control plane answers again",
        "[godwit] sweep: 50 succeeded",
    ]


def test_following_gives_up_when_nothing_answers_for_long(scripted: ScriptedControlPlane) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    scripted.routes["GET", f"/v1/arrays/{ID}"] = answer
    instants = iter(range(0, 10_000, 100))
    teller = arrays.Teller(Silent(), lambda _line: None, lambda: 80)  # type: ignore[arg-type]
    with pytest.raises(Unreachable):
        arrays.to_the_end(scripted.client, ID, teller, lambda: float(next(instants)), lambda _s: None)
    assert following.PATIENCE_S / 100 - 1 <= len(scripted.asked) <= following.PATIENCE_S / 100 + 2
