"""Following a job: its output on stdout, its story on stderr, its outcome as exit code."""

import io
import json
import threading

import httpx
import pytest
from godwit.cli import following, watch
from godwit.cli.exits import Failure
from godwit.domain.wire.views import JobView

from tests.cli.scripted import AT, ScriptedControlPlane, detail, job, sse

ID = "job-4f0zq1m2k7xv9a"


def _scripted(state: str, **changes: object) -> ScriptedControlPlane:
    scripted = ScriptedControlPlane()
    scripted.on("GET", f"/v1/jobs/{ID}", detail(state=state, **changes))
    log = [("log", "1", {"epoch": 1, "text": "step 1\nstep 2"}), ("end", "2", {"state": state, "exit_code": 0})]
    scripted.on("GET", f"/v1/jobs/{ID}/logs/stream", sse(*log))
    event = {"seq": 1, "at": AT, "kind": "job.state", "subject": "job", "subject_id": ID, "actor": "planner",
             "reason": "the planner placed it", "old": "queued", "new": "starting"}  # fmt: skip
    scripted.on("GET", "/v1/events/stream", sse(("event", "1", event)))
    return scripted


def _story(terminal: bool = False) -> tuple[watch.Story, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return watch.Story(out, err, watch.StatusLine(err, terminal)), out, err


def test_output_goes_to_stdout_and_the_story_to_stderr() -> None:
    story, out, err = _story()
    final = watch.to_the_end(_scripted("succeeded").client, ID, story, lambda: 80)
    assert final.state == "succeeded"
    assert out.getvalue().startswith("step 1\nstep 2")
    assert "job queued -> starting: the planner placed it" in err.getvalue()


def test_when_the_log_ends_the_job_is_looked_at_without_waiting_for_the_next_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "POLL_S", 600.0)
    scripted, polled = _scripted("running"), threading.Event()
    log = scripted.routes["GET", f"/v1/jobs/{ID}/logs/stream"]

    def over_once_it_was_polled(_request: httpx.Request) -> httpx.Response:
        state = "succeeded" if polled.is_set() else "running"
        polled.set()
        return httpx.Response(200, json=detail(state=state))

    scripted.routes["GET", f"/v1/jobs/{ID}"] = over_once_it_was_polled
    scripted.routes["GET", f"/v1/jobs/{ID}/logs/stream"] = lambda request: (polled.wait(60), log(request))[1]
    assert watch.to_the_end(scripted.client, ID, _story()[0], lambda: 80).state == "succeeded"


def test_nothing_but_plain_lines_is_written_when_nobody_watches() -> None:
    story, out, err = _story(terminal=False)
    story.job = JobView.model_validate(job())
    story.progress_line(AT, 80)
    assert "\x1b" not in out.getvalue() + err.getvalue()


def test_the_progress_line_fits_the_terminal_and_steps_aside() -> None:
    story, _out, err = _story(terminal=True)
    story.job = JobView.model_validate(job(name="x" * 63))
    story.progress_line(AT + 3, 80)
    story.say("something")
    shown = err.getvalue().split("\x1b[2K")
    assert len(shown[1].rstrip("\r")) <= 79
    assert shown[-1] == "[godwit] something\n"


def test_an_outage_heard_by_two_readers_is_told_once() -> None:
    story, _out, err = _story()
    for source in ("log", "event"):
        story.tell(watch.Heard(source, following.Away("no answer (refused); do something")))
    for source in ("log", "event"):
        story.tell(watch.Heard(source, following.Back(3.0)))
    assert [line.split("] ")[1][:20] for line in err.getvalue().splitlines()] == [
        "no answer; the job g",
        "the control plane an",
    ]


def test_a_reader_that_cannot_go_on_ends_the_following() -> None:
    scripted = _scripted("running")
    scripted.routes["GET", "/v1/events/stream"] = lambda _request: httpx.Response(
        401, text=json.dumps({"title": "t", "status": 401, "detail": "who are you", "code": "unauthenticated"})
    )
    with pytest.raises(Failure, match="who are you"):
        watch.to_the_end(scripted.client, ID, _story()[0], lambda: 80)


@pytest.mark.parametrize(
    ("state", "exit_code", "expected"),
    [("succeeded", 0, 0), ("failed", 3, 3), ("failed", None, 1), ("failed", 0, 1), ("cancelled", None, 130)],
)
def test_the_exit_code_is_the_jobs_outcome(state: str, exit_code: int | None, expected: int) -> None:
    assert watch.exit_code_of(JobView.model_validate(job(state=state, exit_code=exit_code))) == expected
