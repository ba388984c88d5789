"""How godwit marks what it launches, where a cloud has tags, and where it has a name only."""

TOKEN = "godwit-token"  # noqa: S105 - the key of a tag
OWNER = "godwit-owner"

_PREFIX = "gw"


def name_of(token: str, owner: str) -> str:
    """A machine's name that carries both marks: `gw.<token>.<owner>` with letters, digits and hyphens in each part.

    Where a cloud's names may not hold dots, it passes through `.replace(".", "--")`, which `marks_of` reads too.
    """
    return f"{_PREFIX}.{token}.{owner}"


def marks_of(name: str) -> tuple[str | None, str | None]:
    """The token and the owner in a name made by `name_of`; None, None for a machine of somebody else."""
    parts = name.split(".") if "." in name else name.split("--")
    if len(parts) == 3 and parts[0] == _PREFIX and all(parts):
        return parts[1], parts[2]
    return None, None
