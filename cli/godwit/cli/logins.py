"""Where one is logged in: tokens that `godwit login` got, in a file of the home that only its owner reads."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from godwit.cli.exits import ExitCode, Failure

FILE = "logins.json"


@dataclass(frozen=True)
class Login:
    """A token of one control plane: whose it is, and when it ends."""

    token: str = field(repr=False)
    actor: str
    expires_at: float | None


@dataclass(frozen=True)
class Logins:
    """All of them by URL. `current` is the one that commands go to where the environment names none; "" for none."""

    current: str = ""
    known: Mapping[str, Login] = field(default_factory=dict)

    def having(self, url: str, login: Login) -> "Logins":
        """With one more, which commands go to from now on."""
        return Logins(url, {**self.known, url: login})

    def without(self, url: str) -> "Logins":
        """With one less; commands go to none of the others by themselves."""
        rest = {key: value for key, value in self.known.items() if key != url}
        return replace(self, current="" if self.current == url else self.current, known=rest)


def read(home: Path) -> Logins:
    """The logins of a home; none where there is no file. Raises `Failure` for one that cannot be read."""
    try:
        said = json.loads((home / FILE).read_text())
        known = {url: Login(**one) for url, one in said["known"].items()}
        return Logins(said["current"], known)
    except FileNotFoundError:
        return Logins()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        what = f"{home / FILE} cannot be read ({type(exc).__name__}: {exc}); remove it and log in again"
        raise Failure(what, ExitCode.UNREACHABLE) from exc


def write(home: Path, logins: Logins) -> None:
    """Keep the logins. The file was never readable by others, and is whole at any instant."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    said = {"current": logins.current, "known": {url: asdict(one) for url, one in logins.known.items()}}
    draft = home / f".{FILE}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(said, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(home / FILE)
