"""`godwit login`: let this command line in at a control plane elsewhere, by a person who confirms it in a browser.

OAuth's device flow (RFC 8628), with the control plane itself as the one that lets in.
"""

import os
import re
import socket
import time
import webbrowser
from typing import Annotated

import typer
from godwit.cli import connection, console, figures, logins, output
from godwit.cli.client import ControlPlane, Unreachable
from godwit.cli.exits import ExitCode, Failure
from godwit.cli.logins import Login
from godwit.domain.wire.login import (
    DeviceLoginState,
    DeviceLoginView,
    DeviceLoginWanted,
    DeviceTokenView,
    DeviceTokenWanted,
)

app = typer.Typer(rich_markup_mode=None, add_completion=False)

LIMIT_S = 900.0
"""Longer than any code is good: a control plane that says neither yes nor no is not asked for ever."""

_LOOPBACK = ("http://127.0.0.1:", "http://localhost:", "http://127.0.0.1/", "http://localhost/")


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="Where the control plane is, such as https://godwit.example.com.")],
    opens: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser here, or only print.")] = True,
) -> None:
    """Log in: prints an address and a code, waits until you confirm it in a browser, and keeps the token it gets.

    Commands go there from then on, for twelve hours, unless GODWIT_URL says otherwise.
    """
    url = url.rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+", url):
        raise Failure(f"{url!r} is no address; write it like https://godwit.example.com", ExitCode.USAGE)
    if url.startswith("http://") and not f"{url}/".startswith(_LOOPBACK):
        output.note(f"{url} does not speak TLS: whoever is on the way can read the token")
    plane = console.elsewhere(url)
    begun = plane.post("/v1/login/codes", DeviceLoginWanted(client=_this_machine()), DeviceLoginView)
    print(f"{url}{begun.path}")
    output.note(f"open this address in a browser, log in there, and confirm the code {begun.user_code}")
    if opens and output.is_terminal():
        webbrowser.open(f"{url}{begun.path}")
    answer = _wait(plane, begun)
    home = connection.settings(os.environ).home
    kept = Login(answer.secret or "", answer.actor, answer.expires_at)
    logins.write(home, logins.read(home).having(url, kept))
    ends = "" if answer.expires_at is None else f"; it ends {figures.until(answer.expires_at, time.time())}"
    output.note(f"logged in at {url} as {answer.actor}{ends}")


def _this_machine() -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:40]
    return f"godwit on {name}" if name else "godwit"


def _wait(plane: ControlPlane, begun: DeviceLoginView) -> DeviceTokenView:
    """Ask, as often as one may, until somebody decided. Raises `Failure`."""
    interval_s, deadline = begun.interval_s, time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        time.sleep(interval_s)
        try:
            answer = plane.post("/v1/login/tokens", DeviceTokenWanted(device_code=begun.device_code), DeviceTokenView)
        except Unreachable:
            # It may be started anew just now; RFC 8628, section 3.5: ask less often then.
            interval_s = min(2 * interval_s, 60.0)
            continue
        if answer.state is DeviceLoginState.GRANTED and answer.secret:
            return answer
        if answer.state is DeviceLoginState.DENIED:
            raise Failure("you were not let in: somebody said no in the dashboard", ExitCode.UNREACHABLE)
        if answer.state is DeviceLoginState.EXPIRED:
            break
        interval_s = answer.interval_s
    raise Failure("nobody confirmed the code in time; run `godwit login` again", ExitCode.UNREACHABLE)
