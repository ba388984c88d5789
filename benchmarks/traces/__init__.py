"""Where the public traces lie that the benchmarks replay; README.md beside this file has sources and licences."""

import os
from pathlib import Path

HERE = Path(__file__).parent


def path(folder: str, name: str) -> Path:
    """The file `name` of one source: below $GODWIT_TRACES when it is there, else the copy in this folder.

    Raises FileNotFoundError that names both places.
    """
    elsewhere = os.environ.get("GODWIT_TRACES")
    places = [Path(elsewhere) / folder / name] if elsewhere else []
    places.append(HERE / folder / name)
    for place in places:
        if place.exists():
            return place
    tried = " and ".join(map(str, places))
    raise FileNotFoundError(f"no trace {folder}/{name}: tried {tried}; set GODWIT_TRACES to the folder above it")
