"""Every error of the control plane becomes a sentence and an exit code; what may be repeated is, under one key."""

import httpx
import pytest
from godwit.cli import client
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.specs import JobSpecIn
from godwit.domain.wire.views import JobView

from tests.cli.scripted import ScriptedControlPlane, job, page, problem

SPEC = JobSpecIn(name="digits", run="true")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ExitCode.USAGE), (401, ExitCode.UNREACHABLE), (403, ExitCode.UNREACHABLE), (404, ExitCode.NOT_FOUND),
        (409, ExitCode.CONFLICT), (422, ExitCode.USAGE), (500, ExitCode.FAILED),
    ],
)  # fmt: skip
def test_each_kind_of_refusal_has_its_exit_code(status: int, code: ExitCode) -> None:
    scripted = ScriptedControlPlane()
    scripted.on("GET", "/v1/jobs/x", problem("some-error", "what happened and what to do", status), status)
    with pytest.raises(client.Refused, match="what happened and what to do") as caught:
        scripted.client().get("/v1/jobs/x", JobView)
    assert caught.value.code is code


def test_a_near_match_is_passed_on() -> None:
    scripted = ScriptedControlPlane()
    wrong = [{"path": ["gpus"], "message": "no GPU model is called 'H10O'", "did_you_mean": "H100"}]
    scripted.on("GET", "/v1/offers", problem("invalid-request", "no GPU model is called 'H10O'", 422, wrong), 422)
    with pytest.raises(client.Refused, match=r"did you mean H100\?"):
        scripted.client().get("/v1/offers", JobView)


def test_an_error_that_is_no_problem_document_is_still_told() -> None:
    scripted = ScriptedControlPlane()
    scripted.on("GET", "/v1/jobs/x", "upstream fell over", 500)
    with pytest.raises(client.Refused, match="answered 500: upstream fell over"):
        scripted.client().get("/v1/jobs/x", JobView)


@pytest.mark.parametrize("status", client.NOBODY_SERVES)
def test_a_proxy_with_no_control_plane_behind_it_is_told_without_its_page(status: int) -> None:
    scripted = ScriptedControlPlane()
    scripted.on("GET", "/v1/jobs/x", "<html>\r\n<h1>Bad Gateway</h1>", status)
    with pytest.raises(
        client.Refused, match=rf"no control plane at http.* takes requests now \({status} .*ask again"
    ) as caught:
        scripted.client().get("/v1/jobs/x", JobView)
    assert "html" not in caught.value.message
    assert caught.value.code is ExitCode.UNREACHABLE


def test_nothing_at_the_url_says_how_to_start_one() -> None:
    scripted = ScriptedControlPlane()

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    scripted.routes["GET", "/v1/jobs/x"] = refuse
    with pytest.raises(client.Unreachable, match="godwit up --detach") as caught:
        scripted.client().get("/v1/jobs/x", JobView)
    assert caught.value.code is ExitCode.UNREACHABLE


def test_an_answer_of_another_version_is_named() -> None:
    scripted = ScriptedControlPlane()
    scripted.on("GET", "/v1/jobs/x", {**job(), "colour": "red"})
    with pytest.raises(Failure, match=r"colour.*godwit version"):
        scripted.client().get("/v1/jobs/x", JobView)


def test_a_list_is_read_to_its_end() -> None:
    scripted = ScriptedControlPlane()

    def answer(request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        return httpx.Response(200, json=page(job(id=cursor or "first"), cursor=None if cursor else "second"))

    scripted.routes["GET", "/v1/jobs"] = answer
    assert [view.id for view in scripted.client().pages("/v1/jobs", JobView)] == ["first", "second"]


def test_a_lost_answer_to_a_write_is_asked_for_again_with_the_same_key() -> None:
    scripted = ScriptedControlPlane()

    def answer(request: httpx.Request) -> httpx.Response:
        if len(scripted.asked) < 3:
            raise httpx.ReadTimeout("no answer", request=request)
        return httpx.Response(202, json=job())

    scripted.routes["POST", "/v1/jobs"] = answer
    scripted.client().post("/v1/jobs", SPEC, JobView, key="key-1")
    assert [request.headers["Idempotency-Key"] for request in scripted.asked] == ["key-1"] * 3


def test_a_write_without_a_key_is_never_repeated() -> None:
    scripted = ScriptedControlPlane()
    scripted.on("POST", "/v1/drills", "busy", 503)
    with pytest.raises(client.Refused):
        scripted.client().post("/v1/drills", SPEC, JobView)
    assert len(scripted.asked) == 1


def test_repeating_has_an_end() -> None:
    scripted = ScriptedControlPlane()
    scripted.on("POST", "/v1/jobs", "busy", 503)
    with pytest.raises(client.Refused, match="503"):
        scripted.client().post("/v1/jobs", SPEC, JobView, key="key-1")
    assert len(scripted.asked) == client.ATTEMPTS_MAX


def test_a_refused_write_is_not_repeated() -> None:
    scripted = ScriptedControlPlane()
    scripted.on("POST", "/v1/jobs", problem("conflict", "no", 409), 409)
    with pytest.raises(client.Refused):
        scripted.client().post("/v1/jobs", SPEC, JobView, key="key-1")
    assert len(scripted.asked) == 1


def test_a_name_stays_one_segment_of_the_path() -> None:
    assert client.path_of("/v1/jobs", "../nodes?x", "logs") == "/v1/jobs/..%2Fnodes%3Fx/logs"


@pytest.mark.parametrize("told", ["3", "999999999"])
def test_who_is_told_to_wait_waits_and_asks_again(told: str) -> None:
    scripted, pauses = ScriptedControlPlane(), list[float]()

    def answer(_request: httpx.Request) -> httpx.Response:
        if len(scripted.asked) < 2:
            return httpx.Response(429, headers={"Retry-After": told}, json=problem("too-many-requests", "wait", 429))
        return httpx.Response(200, json=job())

    scripted.routes["GET", "/v1/jobs/x"] = answer
    asking = scripted.client()
    asking._pause = pauses.append
    asking.get("/v1/jobs/x", JobView)
    assert pauses == [min(float(told), client.WAIT_MAX_S)]


def test_who_is_told_to_wait_again_and_again_gives_up() -> None:
    scripted = ScriptedControlPlane()
    scripted.routes["GET", "/v1/jobs/x"] = lambda _request: httpx.Response(429, headers={"Retry-After": "1"})
    with pytest.raises(client.Refused, match="429"):
        scripted.client().get("/v1/jobs/x", JobView)
    assert len(scripted.asked) == client.ATTEMPTS_MAX
