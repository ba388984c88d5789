"""Replicas of services on their nodes: a port, answers to probes, and an end that is always a failure."""

import sys
import textwrap
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.runtime.probing import Judged, after_liveness, after_readiness
from godwit.domain.wire.agents import StopAttempt
from godwit.domain.wire.replicas import Ask, ReplicaSeen, Serve
from hypothesis import given
from hypothesis import strategies as st

SERVER = textwrap.dedent("""\
    import http.server, os, pathlib, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = pathlib.Path(os.environ["STATE"], self.path.strip("/"))
            self.send_response(200 if wanted.exists() or self.path == "/" else 503)
            self.end_headers()
            self.wfile.write(os.environ["PORT"].encode())

        def log_message(self, *_args):
            pass

    http.server.ThreadingHTTPServer(("", int(os.environ["GODWIT_PORT"])), Handler).serve_forever()
""")
ANSWERS = st.lists(st.sampled_from(["", "refused"]), max_size=30)


@given(answers=ANSWERS, failures=st.integers(1, 5))
def test_one_good_answer_makes_ready_and_only_so_many_bad_ones_in_a_row_unmake_it(
    answers: list[str], failures: int
) -> None:
    judged, ask = Judged(), Ask(failures=failures)
    for index, failure in enumerate(answers):
        judged = after_readiness(judged, ask, failure)
        last = answers[: index + 1][-failures:]
        was_ready = "" in answers[: index + 1]
        assert judged.ready == (was_ready and not (len(last) == failures and all(last)))
        assert judged.was_ready == was_ready


@given(answers=ANSWERS, failures=st.integers(1, 5))
def test_what_was_never_ready_does_not_die_of_its_silence(answers: list[str], failures: int) -> None:
    starting, running = Judged(), Judged(ready=True, was_ready=True)
    ask = Ask(failures=failures)
    for index, failure in enumerate(answers):
        starting = after_liveness(starting, ask, failure)
        if running.died:
            break
        running = after_liveness(running, ask, failure)
        last = answers[: index + 1][-failures:]
        assert bool(running.died) == (len(last) == failures and all(last))
    assert starting.died == ""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder: a path of the server answers well while a file of its name is there."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def replica(starts: Callable[..., Any], state: Path) -> Callable[..., Any]:
    """The start of a replica of a small HTTP server."""
    program = state.parent / "server.py"
    program.write_text(SERVER)

    def make(gang: list[Any], run: str = f"{sys.executable} {program}", **serve: Any) -> Any:
        quick = {"path": "/ready", "period_s": 0.1, "timeout_s": 20.0}
        fields = {"readiness": quick, **serve}
        return starts(gang, run, serve=Serve.model_validate(fields), env={"STATE": str(state)})[0]

    return make


def said(plane: Any, name: str) -> list[ReplicaSeen]:
    return list(plane.seen(name, "replica-seen"))


def test_a_replica_gets_a_port_and_says_when_it_takes_requests_and_when_not(
    plane: Any, machines: Any, replica: Any, state: Path, eventually: Any
) -> None:
    (machine,) = machines()
    plane.order(machine.name, replica([machine]))
    eventually(lambda: plane.seen(machine.name, "attempt-running"), 60, "it runs")
    (state / "ready").touch()
    eventually(lambda: said(plane, machine.name), 60, "it is ready")
    seen = said(plane, machine.name)[-1]
    assert (seen.attempt_id, seen.epoch, seen.ready) == ("att-1", 1, True)
    with urllib.request.urlopen(f"http://{machine.address}:{seen.port}/", timeout=20) as answer:
        assert answer.read() == str(seen.port).encode()
    (state / "ready").unlink()
    eventually(lambda: not said(plane, machine.name)[-1].ready, 60, "it is not ready any more")
    assert "503" in said(plane, machine.name)[-1].detail
    assert plane.end_of(machine.name) is None, "what takes no requests is left running"
    stop = StopAttempt(intent_id="stop", job_id="job-1", attempt_id="att-1", epoch=1, grace_s=1.0, reason="enough")
    plane.order(machine.name, stop)
    assert eventually(lambda: plane.end_of(machine.name), 60).outcome == "cancelled"


def test_a_replica_that_is_not_alive_any_more_fails_and_says_why(
    plane: Any, machines: Any, replica: Any, state: Path, eventually: Any
) -> None:
    (machine,) = machines()
    for name in ("ready", "live"):
        (state / name).touch()
    live = {"path": "/live", "period_s": 0.1, "timeout_s": 20.0, "failures": 2}
    plane.order(machine.name, replica([machine], liveness=live))
    eventually(lambda: said(plane, machine.name), 60, "it is ready")
    (state / "live").unlink()
    end = eventually(lambda: plane.end_of(machine.name), 60, "it ended")
    assert end.outcome == "failed"
    assert "did not answer 2 times in a row" in end.detail


@pytest.mark.parametrize("code", [0, 3])
def test_a_program_of_a_service_that_ends_has_failed_whatever_it_says(
    plane: Any, machines: Any, replica: Any, eventually: Any, code: int
) -> None:
    (machine,) = machines()
    plane.order(machine.name, replica([machine], run=f"echo bye; exit {code}"))
    end = eventually(lambda: plane.end_of(machine.name), 60, "it ended")
    assert (end.outcome, end.exit_code) == ("failed", code)
    assert "that of a service does not" in end.detail
    assert "bye" in end.last_lines
