"""Kubernetes is one more way to get a node: its words stay in its provider."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("domain", "scheduler", "providers", "control_plane", "agents", "gateway", "sdk", "cli")
OWN = ("kubernetes_pods", "runpod")
"""RunPod calls its containers so too."""


def test_no_part_outside_its_provider_knows_the_word_pod() -> None:
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not set(path.parts) & set(OWN)]
    assert len(sources) > 100
    known = [str(path) for path in sources if re.search(r"\bpods?\b", path.read_text(), re.IGNORECASE)]
    assert known == []
