"""`python -m godwit.gateway export`: the routes and limits of now, as configuration for another proxy."""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence

from godwit.gateway import settings, source
from godwit.gateway.envoy.bootstrap import export

ADMIN_PORT = 9901
"""The port that Envoy's own examples have for its administration."""


def run(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Write an Envoy's bootstrap to standard output; returns the exit code. Raises `InvalidRequest` without routes."""
    parser = argparse.ArgumentParser(prog="godwit gateway export", allow_abbrev=False)
    parser.add_argument("--admin-port", type=int, default=ADMIN_PORT)
    parser.add_argument("--keyed", action="store_true", help="also services that need an API key: nobody checks it")
    own, rest = parser.parse_known_args(arguments)
    asked = settings.read(rest, env)
    found = export(asyncio.run(source.once(asked)), asked, own.admin_port, keyed=own.keyed)
    sys.stdout.write(found.text)
    if found.left_out:
        names = ", ".join(found.left_out)
        sys.stderr.write(f"left out, since they need an API key, which Envoy cannot check: {names}; see --keyed\n")
    return 0
