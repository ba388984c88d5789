"""Names and reasons by users, nodes and providers, and output of jobs, on their way to a terminal."""

import io
import json

import httpx
import pytest
from godwit.cli import following, output
from godwit.cli.client import Refused
from godwit.cli.output import Column
from godwit.domain.wire.views import JobView

from tests.cli.scripted import ScriptedControlPlane, job, problem

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b1A\r"
SHOWN = "\u241b]0;owned\u2407\u241b[2J\ufffd\ufffd1A\u240d"


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_escaped", [True, False])
def test_what_the_control_plane_says_of_others_steers_no_terminal(is_escaped: bool) -> None:
    scripted = ScriptedControlPlane()
    text = json.dumps(job(detail=EVIL), ensure_ascii=is_escaped)
    scripted.routes["GET", "/v1/jobs/x"] = lambda _request: httpx.Response(200, content=text.encode())
    found = scripted.client().get("/v1/jobs/x", JobView)
    assert found.detail == SHOWN


def test_a_refusal_steers_no_terminal_either() -> None:
    scripted = ScriptedControlPlane()
    scripted.on("GET", "/v1/jobs/x", problem("not-found", f"no job {EVIL}", 404), 404)
    with pytest.raises(Refused) as refused:
        scripted.client().get("/v1/jobs/x", JobView)
    assert refused.value.message == f"no job {SHOWN}"
    scripted.on("GET", "/v1/jobs/y", f"<html>{EVIL}", 500)
    with pytest.raises(Refused) as refused:
        scripted.client().get("/v1/jobs/y", JobView)
    assert "\x1b" not in refused.value.message


def test_a_name_with_a_line_break_adds_no_line_to_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([Column("NAME"), Column("STATE")], [["a\nfake  running", "\x1b[2Jfailed"]], "none")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "\x1b" not in lines[1]


def test_an_event_is_one_event_whatever_separators_its_text_holds() -> None:
    reason = "a\u2028data: {}\x85\x0b\x1cb"
    scripted = ScriptedControlPlane()
    text = f"event: event\nid: 1\ndata: {json.dumps({'reason': reason}, ensure_ascii=False)}\n\n".replace(
        "\n\n", "\r\n\r\n"
    )
    scripted.routes["GET", "/v1/events/stream"] = lambda _request: httpx.Response(200, content=text.encode())
    with scripted.client().stream("/v1/events/stream") as lines:
        (event,) = following.parse_events(lines)
    assert event.data == {"reason": "a\ufffddata: {}\ufffd\u240b\u241cb"}


def test_output_of_jobs_comes_with_its_colours_onto_a_terminal_and_whole_into_a_file() -> None:
    said = f"\x1b[32mok\x1b[0m{EVIL}\n"
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        shown = output.JobOutput(stream)
        for char in said:
            shown.write(char)
        shown.end()
    assert terminal.getvalue() == "\x1b[32mok\x1b[0m\u202e\r\n"
    assert file.getvalue() == said


def test_output_is_not_tamed_on_its_way_to_whoever_shows_it() -> None:
    (event,) = following.parse_events(["event: log", f"data: {json.dumps({'text': EVIL})}", ""])
    assert event.data["text"] == EVIL
