"""Which control plane to talk to: the environment wins over `godwit login`, and that over what `godwit up` left."""

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from godwit.cli import logins
from godwit.cli.exits import ExitCode, Failure

RECORD, NAMED_RECORDS = "control_plane.json", "control_plane.*.json"
LOG = "control_plane.log"
ANSWER_S = 1.0
"""What is recorded in a home listens on this machine, which takes a connection at once or not at all."""


@dataclass(frozen=True)
class Settings:
    """What the environment says, read once: the home folder, and perhaps a control plane elsewhere."""

    home: Path
    url: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Connection:
    """Where the control plane answers, and the bearer token that it wants."""

    url: str
    token: str = field(repr=False)


def settings(environ: Mapping[str, str]) -> Settings:
    """Read GODWIT_HOME (default `~/.godwit`), GODWIT_URL and GODWIT_TOKEN; empty values count as unset."""
    home = environ.get("GODWIT_HOME") or "~/.godwit"
    url = environ.get("GODWIT_URL") or None
    return Settings(Path(home).expanduser().absolute(), url.rstrip("/") if url else None, environ.get("GODWIT_TOKEN"))


def find(known: Settings, now: float) -> Connection:
    """The connection to use; raises `Failure` that says how to get one.

    The home's token is an administrator's: it is never sent to a URL that is not the home's own. A login's token is
    sent to where it came from only.
    """
    own, kept = [str(record["url"]) for record in read_records(known.home)], logins.read(known.home)
    # A token that the environment gives without an address is of the home, as before anybody logged in elsewhere.
    of_home = _answering(own) if not known.url and (known.token or not kept.current) else None
    url = known.url or of_home or kept.current
    if not url:
        raise Failure(
            f"no control plane runs here ({known.home} has none); start it (`godwit up --detach`, or its service), "
            "log in to one elsewhere with `godwit login URL`, or set GODWIT_URL and GODWIT_TOKEN",
            ExitCode.UNREACHABLE,
        )
    if not url.startswith(("http://", "https://")):
        raise Failure(f"GODWIT_URL is {url!r}; write it like http://127.0.0.1:7461", ExitCode.USAGE)
    if known.token:
        return Connection(url, known.token)
    login = kept.known.get(url)
    if login is not None and (login.expires_at is None or login.expires_at > now):
        return Connection(url, login.token)
    if url in own:
        return Connection(url, _token(known.home))
    if login is not None:
        raise Failure(f"the login at {url} is over; log in again: `godwit login {url}`", ExitCode.UNREACHABLE)
    raise Failure(
        f"GODWIT_URL is {url}; log in with `godwit login {url}`, or set GODWIT_TOKEN to a token of it",
        ExitCode.UNREACHABLE,
    )


def read_records(home: Path) -> list[dict[str, object]]:
    """The records {"url", "pid", "identity"} of the home's control planes; their processes may be gone.

    First the one without a name, then by name (GODWIT_REPLICA). Raises `Failure` for one that cannot be read.
    """
    found = [_read_record(path) for path in (home / RECORD, *sorted(home.glob(NAMED_RECORDS)))]
    return [record | {"url": url.rstrip("/")} for record in found if isinstance(url := record.get("url"), str)]


def _read_record(path: Path) -> dict[str, object]:
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise Failure(f"{path} cannot be read: {exc}; run `godwit up` again", ExitCode.UNREACHABLE) from exc
    return record if isinstance(record, dict) else {}


def _answering(urls: Sequence[str]) -> str | None:
    """The only one, or the first that takes a connection; where none does the first, of which the request will tell."""
    return next((url for url in urls if len(urls) > 1 and _listens(url)), urls[0] if urls else None)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=ANSWER_S).close()
    except (OSError, ValueError):
        return False
    return True


def _token(home: Path) -> str:
    try:
        return (home / "token").read_text().strip()
    except OSError as exc:
        raise Failure(
            f"the token in {home / 'token'} cannot be read: {exc}; set GODWIT_TOKEN", ExitCode.UNREACHABLE
        ) from exc
