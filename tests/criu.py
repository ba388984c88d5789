"""CRIU for tests that save real processes: named by GODWIT_TEST_CRIU (a command line) or found on PATH."""

import os

import pytest
from godwit.agents.runtime.process import probe

_NAMED = {"GODWIT_CRIU": os.environ.get("GODWIT_TEST_CRIU", ""), "PATH": os.environ.get("PATH", os.defpath)}
FOUND = probe.probe(_NAMED, simulated=True)
"""Looked at once for each process that runs tests; takes no time where there is no CRIU."""

needs_criu = pytest.mark.skipif(bool(FOUND.no_saves), reason=f"no process can be saved here: {FOUND.no_saves}")
