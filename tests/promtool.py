"""Prometheus' own checker of rules: named by GODWIT_TEST_PROMTOOL or found on PATH (Debian: package `prometheus`)."""

import os
import shutil

import pytest

FOUND = os.environ.get("GODWIT_TEST_PROMTOOL") or shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    FOUND is None, reason="promtool is not here (Debian: package prometheus): rules were read, and not run on series"
)
