"""Prints what godwit needs from others, one requirement a line: `python requirements.py server,postgres`.

Images install these before godwit itself, in a layer of their own that stays while only godwit changes. Without extras
it prints constraints: the releases that the tests run with, where one is named. Without them pip searches for minutes
among releases of boto3, botocore and s3fs, each of which wants a range of the others.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def requirements(project: Mapping[str, Any], extras: list[str]) -> Iterator[str]:
    """What a project needs with some of its extras; an extra that it does not have is a KeyError."""
    yield from project["dependencies"]
    for extra in extras:
        yield from project["optional-dependencies"][extra]


def constraints(project: Mapping[str, Any]) -> Iterator[str]:
    """Every requirement of any extra that names one release, without extras of its own, which pip refuses here."""
    for extra in project["optional-dependencies"].values():
        for one in extra:
            pinned = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", one)
            if pinned:
                yield f"{pinned[1]}=={pinned[2]}"


if __name__ == "__main__":
    described = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = requirements(described, sys.argv[1].split(",")) if sys.argv[1:] else constraints(described)
    print("\n".join(dict.fromkeys(wanted)))  # noqa: T201 - it is read by pip
