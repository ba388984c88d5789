"""A followed stream survives the control plane: it goes on from its cursor, says so once, and gives up in the end."""

import httpx
import pytest
from godwit.cli import client, following

from tests.cli.scripted import ScriptedControlPlane, problem, sse

PATH = "/v1/jobs/digits/logs/stream"


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def _follow(scripted: ScriptedControlPlane, clock: _Clock) -> list[object]:
    follower = following.follow(scripted.client, PATH, {}, "end", clock.monotonic, clock.pause)
    return list(follower)


def _log(cursor: str, text: str) -> tuple[str, str, dict[str, object]]:
    return ("log", cursor, {"epoch": 1, "text": text})


END = ("end", "9", {"state": "succeeded", "exit_code": 0})


def test_events_are_read_and_comments_skipped() -> None:
    lines = [": keep-alive", "", "event: log", "id: 7", 'data: {"text":', 'data: "a"}', "", "event: log", "data: {}"]
    assert list(following.parse_events(lines)) == [following.StreamEvent("log", {"text": "a"}, "7")]


def test_a_stream_that_breaks_off_goes_on_from_its_last_cursor() -> None:
    scripted = ScriptedControlPlane()
    answers = [sse(_log("1", "a"), _log("2", "b")), sse(_log("3", "c"), END)]
    scripted.routes["GET", PATH] = lambda _request: httpx.Response(200, text=answers[len(scripted.asked) - 1])
    events = _follow(scripted, _Clock())
    heard = [event for event in events if isinstance(event, following.StreamEvent)]
    assert [event.data.get("text") for event in heard] == ["a", "b", "c", None]
    assert [request.url.params.get("after") for request in scripted.asked] == [None, "2"]


def test_an_outage_is_said_once_and_so_is_its_end() -> None:
    scripted = ScriptedControlPlane()

    def answer(request: httpx.Request) -> httpx.Response:
        if len(scripted.asked) < 5:
            raise httpx.ConnectError("Connection refused", request=request)
        return httpx.Response(200, text=sse(END))

    scripted.routes["GET", PATH] = answer
    kinds = [type(event).__name__ for event in _follow(scripted, _Clock())]
    assert kinds == ["Away", "Back", "StreamEvent"]


def test_it_gives_up_after_ten_minutes_without_an_answer() -> None:
    scripted, clock = ScriptedControlPlane(), _Clock()

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    scripted.routes["GET", PATH] = answer
    with pytest.raises(client.Unreachable):
        _follow(scripted, clock)
    assert following.PATIENCE_S < clock.now < following.PATIENCE_S + 2 * following.BACKOFF_MAX_S
    assert len(scripted.asked) < 400


def test_a_job_that_is_not_there_ends_it_at_once() -> None:
    scripted = ScriptedControlPlane()
    scripted.on("GET", PATH, problem("not-found", "no such job", 404), 404)
    with pytest.raises(client.Refused, match="no such job"):
        _follow(scripted, _Clock())
    assert len(scripted.asked) == 1
