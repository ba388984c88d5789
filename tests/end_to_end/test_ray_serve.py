"""Ray Serve with a real model as a service: replicas of two nodes, through a gateway, as OpenAI's clients ask."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gateway.users import gateways
from tests.end_to_end.conftest import System, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(540)]

SPEC = Path(__file__).parent.parent.parent / "examples" / "embeddings" / "service.yaml"
TEXTS = ["A man is eating food.", "Somebody has a meal.", "The stock market fell today."]


def ask(address: str, texts: list[str]) -> tuple[dict[str, Any], str]:
    """What the model answers, and the rank of the node that did."""
    body = json.dumps({"model": "all-minilm-l6-v2", "input": texts}).encode()
    asked = urllib.request.Request(f"{address}/v1/embeddings", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=120) as answer:
        return json.loads(answer.read()), answer.headers["X-Node"]


def test_a_model_on_two_nodes_answers_as_it_should(system: System, tmp_path: Path) -> None:
    coming = system.start("run", "-y", str(SPEC))
    _, said = coming.communicate(timeout=400)
    assert coming.returncode == 0, said
    with gateways(system.home, system.environment, tmp_path) as (gateway,):
        address = gateway.url
        wait_for("routes", 120, lambda: _models(address) == ["all-minilm-l6-v2"])
        answers = list[tuple[dict[str, Any], str]]()
        wait_for("answers of both nodes", 120, lambda: _nodes(answers, ask(address, TEXTS)) == {"0", "1"})
    for answer, _ in answers:
        man, meal, market = (one["embedding"] for one in answer["data"])
        assert _product(man, meal) == pytest.approx(0.657, abs=0.01), "as the model's authors have it"
        assert _product(man, market) < 0.1
        assert answer["usage"]["prompt_tokens"] == 23
    assert system.godwit("services", "rm", "embeddings").returncode == 0
    wait_for("its end", 120, lambda: system.read("services") == [])


def _nodes(answers: list[tuple[dict[str, Any], str]], another: tuple[dict[str, Any], str]) -> set[str]:
    answers.append(another)
    return {node for _, node in answers}


def _models(address: str) -> list[str]:
    with urllib.request.urlopen(f"{address}/v1/models", timeout=60) as answer:
        return [one["id"] for one in json.loads(answer.read())["data"]]


def _product(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
