"""Routes by which people log in: with an identity provider in a browser, and from there commands that ask for it."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response
from godwit.control_plane.api.access import Who
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.api.tokens import known_by, set_session
from godwit.control_plane.login import states
from godwit.control_plane.login.claims import Reason, Refused
from godwit.control_plane.services import device_logins, logins
from godwit.control_plane.services.logins import Answer
from godwit.domain.errors import NotFound
from godwit.domain.wire.login import (
    DeviceGrantView,
    DeviceLoginView,
    DeviceLoginWanted,
    DeviceTokenView,
    DeviceTokenWanted,
    LoginView,
)

router = APIRouter(prefix="/v1/login")
log = structlog.get_logger()

COOKIE_PATH = "/v1/login"
_ELSEWHERE: dict[int | str, dict[str, Any]] = {303: {"description": "to the provider, or back to the dashboard"}}

CodeRef = Annotated[str, Path(max_length=16, description="The code that a command shows, such as BCDF-GHJK.")]
Given = Annotated[str, Query(max_length=4_096)]


@router.get("")
def get_login(state: Godwit) -> LoginView:
    """What the login page offers beside tokens."""
    return LoginView(name=None if state.login is None else state.login.settings.name)


@router.get("/start", status_code=303, responses=_ELSEWHERE, response_class=RedirectResponse)
async def start(state: Godwit, to: Annotated[str, Query(max_length=states.PAGE_MAX)] = states.HOME) -> Response:
    """Send a browser to the identity provider; it comes back to the page `to` of the dashboard, and nowhere else."""
    if state.login is None:
        raise NotFound("no identity provider is set up here; log in with a token")
    try:
        address, cookie = await run_in_threadpool(logins.begin, state.context, state.login, to)
    except Refused as refused:
        return _refusal(refused)
    response = RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        states.COOKIE,
        cookie,
        max_age=int(states.LASTS_S),
        path=COOKIE_PATH,
        httponly=True,
        # Lax: it must come along when the provider's page sends the browser back.
        samesite="lax",
        secure=state.context.url.startswith("https://"),
    )
    return response


@router.get("/callback", status_code=303, responses=_ELSEWHERE, response_class=RedirectResponse)
async def callback(
    request: Request,
    http: Godwit,
    state: Given = "",
    code: Given = "",
    error: Given = "",
    iss: Given = "",
) -> Response:
    """Where the identity provider sends browsers back to: to the dashboard, with a session or a reason why not."""
    if http.login is None:
        raise NotFound("no identity provider is set up here; log in with a token")
    cookie = request.cookies.get(states.COOKIE, "")
    try:
        arrived = await run_in_threadpool(
            logins.finish, http.context, http.login, cookie, Answer(state, code, error, iss), known_by(request)
        )
    except Refused as refused:
        return _refusal(refused)
    response = RedirectResponse(arrived.page, 303, headers={"Cache-Control": "no-store"})
    set_session(response, http, arrived.secret, http.login.settings.session_s)
    response.delete_cookie(states.COOKIE, path=COOKIE_PATH, httponly=True, samesite="lax")
    return response


def _refusal(refused: Refused) -> Response:
    """Back to the login page, which has the words for each reason; the details are for the log."""
    log.warning("somebody was not let in", reason=refused.reason.value, why=refused.message)
    response = RedirectResponse(f"{states.HOME}?login={refused.reason}", 303, headers={"Cache-Control": "no-store"})
    if refused.reason is not Reason.TOO_LATE:
        response.delete_cookie(states.COOKIE, path=COOKIE_PATH, httponly=True, samesite="lax")
    return response


@router.post("/codes", status_code=201)
def begin_device_login(request: Request, state: Godwit, wanted: DeviceLoginWanted) -> DeviceLoginView:
    """A command asks to be let in; it shows the code, and waits until a person confirms it (OAuth's device flow)."""
    source = request.client.host if request.client else ""
    return device_logins.begin(state.context, wanted.client, source)


@router.post("/tokens")
def poll_device_login(state: Godwit, wanted: DeviceTokenWanted) -> DeviceTokenView:
    """The command asks whether it is let in; if it is, its token is in this answer and nowhere else."""
    return device_logins.poll(state.context, wanted.device_code)


@router.get("/codes/{code}")
def get_device_login(state: Godwit, _caller: Who, code: CodeRef) -> DeviceGrantView:
    """What asks to be let in with a code."""
    return device_logins.look(state.context, code)


@router.post("/codes/{code}/approve")
def approve_device_login(state: Godwit, caller: Who, code: CodeRef) -> DeviceGrantView:
    """Let a command in: it may do what you may, for as long as a working day. Only from a browser's session."""
    return device_logins.decide(state.context, code, caller, lets_in=True)


@router.post("/codes/{code}/deny")
def deny_device_login(state: Godwit, caller: Who, code: CodeRef) -> DeviceGrantView:
    """Do not let a command in. Only from a browser's session."""
    return device_logins.decide(state.context, code, caller, lets_in=False)
