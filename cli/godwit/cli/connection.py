"""Which control plane to talk to: the environment wins over `godwit login`, and that over what `godwit up` left."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from godwit.cli import logins
from godwit.cli.exits import ExitCode, Failure

RECORD = "control_plane.json"
LOG = "control_plane.log"


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
    recorded, kept = recorded_url(known.home), logins.read(known.home)
    # A token that the environment gives without an address is of the home, as before anybody logged in elsewhere.
    url = known.url or (recorded if known.token else None) or kept.current or recorded
    if url is None:
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
    if url == recorded:
        return Connection(url, _token(known.home))
    if login is not None:
        raise Failure(f"the login at {url} is over; log in again: `godwit login {url}`", ExitCode.UNREACHABLE)
    raise Failure(
        f"GODWIT_URL is {url}; log in with `godwit login {url}`, or set GODWIT_TOKEN to a token of it",
        ExitCode.UNREACHABLE,
    )


def recorded_url(home: Path) -> str | None:
    """The URL in the home's record of its control plane; None without a record. The process may be gone."""
    record = read_record(home)
    url = record.get("url")
    return url.rstrip("/") if isinstance(url, str) else None


def read_record(home: Path) -> dict[str, object]:
    """The home's record {"url", "pid", "identity"} of its control plane; empty when there is none."""
    try:
        record = json.loads((home / RECORD).read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise Failure(f"{home / RECORD} cannot be read: {exc}; run `godwit up` again", ExitCode.UNREACHABLE) from exc
    return record if isinstance(record, dict) else {}


def _token(home: Path) -> str:
    try:
        return (home / "token").read_text().strip()
    except OSError as exc:
        raise Failure(
            f"the token in {home / 'token'} cannot be read: {exc}; set GODWIT_TOKEN", ExitCode.UNREACHABLE
        ) from exc
