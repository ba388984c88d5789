"""Ends with 0 when the simulated clouds of this container answer, with an error when they do not."""

import json
import urllib.request
from pathlib import Path

url = json.loads(Path("/var/lib/godwit/simulated/server.json").read_text())["url"]
urllib.request.urlopen(f"{url}/health", timeout=2).close()  # noqa: S310 - its own address
