"""What tarfile's filters do (PEP 706), also where Python has none: 3.11.4 brought them, and Debian 12 has 3.11.2.

Whoever unpacks has judged names and links before; these are the second lock, and what becomes of modes and owners.
"""

import tarfile
from typing import Any


def has_filters() -> bool:
    """Whether this Python's tarfile knows of filters; the documentation asks for `data_filter` to find out."""
    return hasattr(tarfile, "data_filter")


def filtered(by: Any) -> dict[str, Any]:
    """The argument of `extract` and `extractall` that names a filter, where there are filters."""
    return {"filter": by} if has_filters() else {}


class Unowned(tarfile.TarFile):
    """What it unpacks belongs to whoever unpacks, whatever the headers say."""

    def chown(self, tarinfo: tarfile.TarInfo, targetpath: Any, numeric_owner: bool) -> None:
        """Leave it as it is."""


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member as the filter `data` would leave it: below the folder, its owner's to change and nobody else's."""
    member.name = member.name.lstrip("/")
    mode = member.mode & 0o755 | (0o700 if member.isdir() else 0o600)
    if member.isreg() and not mode & 0o100:
        mode &= ~0o111
    member.mode = mode
    return member
