"""Whether keys open what a backup holds sealed: asked before a database is replaced by one that could not be served."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from godwit.control_plane.backup import archive
from godwit.control_plane.envelope import About, Envelope, Sealed
from godwit.control_plane.home import CREDENTIALS_KEY, usable_keys
from godwit.control_plane.services import authorities
from godwit.control_plane.vault import Vault
from godwit.domain.errors import Conflict, InvalidRequest

_KEY_FILE = "credentials.key"


@dataclass
class Contents:
    """What is sealed in a backup, and the key file that lies in it: "" without."""

    accounts: list[str] = field(default_factory=list)
    wrapped: list[tuple[Sealed, About]] = field(default_factory=list)
    key_file: str = ""


def contents(source: Path) -> Contents:
    """Read them from a backup that was verified, of any revision of the tables."""
    found = Contents()
    with archive.reading(source) as parts:
        for name, content in parts:
            if name == "tables/providers":
                found.accounts += [json.loads(line)["secrets"] for line in content]
            elif name in {"tables/secrets", "tables/authorities"}:
                found.wrapped += [_wrapped(row) for row in map(json.loads, content) if row["sealed"]]
            elif name == f"home/{_KEY_FILE}":
                found.key_file = content.read().decode()
            elif name.startswith("archives/"):
                break  # they come last, and may be long
    return found


def opens(keys: Sequence[bytes], of: Contents) -> bool:
    """Whether a control plane with these keys can be served from there. Pure.

    A start needs the credentials of every provider. Of the rest one will do, which shows that the key is the one:
    what was sealed with a key that is lost for good stays in a database that is served.
    """
    vaults, envelope = [Vault(key) for key in keys], Envelope([base64.urlsafe_b64decode(key) for key in keys])
    if not all(any(_does(vault.open, sealed) for vault in vaults) for sealed in of.accounts):
        return False
    return not of.wrapped or bool(of.accounts) or any(_does(envelope.open, *one) for one in of.wrapped)


def refuse_closed(source: Path, folder: Path) -> None:
    """Raise `InvalidRequest` when the home in `folder` could not open what is in the backup once it is restored."""
    of, path = contents(source), folder / _KEY_FILE
    held = of.key_file or (path.read_text() if path.exists() else "")
    if opens(usable_keys(path, held.split()), of):
        return
    raise InvalidRequest(
        f"{source} holds credentials or secrets that no key here opens: they were sealed with another "
        f"{CREDENTIALS_KEY}; give this command the one of when it was written, as the service has it "
        f"({CREDENTIALS_KEY} or {CREDENTIALS_KEY}_FILE); nothing was changed"
    )


def needs_a_key_besides(source: Path) -> bool:
    """Whether a backup is of no use without a GODWIT_CREDENTIALS_KEY, which is never in it."""
    of = contents(source)
    return not of.key_file or not opens([key.encode() for key in of.key_file.split()], of)


def _wrapped(row: dict[str, Any]) -> tuple[Sealed, About]:
    about = About(row["project"], row["name"], row["version"]) if "project" in row else authorities.about(row["number"])
    return Sealed(row["key_id"], row["wrapped"], row["sealed"]), about


def _does(attempt: Any, *given: Any) -> bool:
    try:
        attempt(*given)
    except Conflict:
        return False
    return True
