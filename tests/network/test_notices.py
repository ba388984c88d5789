"""A spot machine is taken back: real processes save, a replacement is bought meanwhile, and the job goes on there."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.network import diaries
from tests.network.switch import why_not
from tests.network.world import World, running, wait_for

_WHY_NOT = why_not()

pytestmark = [
    pytest.mark.e2e, pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT), pytest.mark.timeout(540),
    pytest.mark.xdist_group("network"),
]  # fmt: skip

STEPS, STEP_S = 60, 0.1
LONG_S = 180.0


def test_a_job_leaves_a_machine_that_is_taken_back_with_all_that_it_has_done(tmp_path: Path) -> None:
    with running(tmp_path, random.Random(1), bucket=False) as world:
        world.submit("job", 1, STEPS, STEP_S, spot="only")
        wait_for("some steps", LONG_S, lambda: any(life.last_step > 12 for life in diaries.read(world.diaries)))
        world.drill("spot-notice", world.node_of("job"))
        job = wait_for("the end of the job", LONG_S, lambda: _ended(world))
        assert (job["state"], job["epoch"], job["interruptions"]) == ("succeeded", 2, 0)
        first, second = diaries.read(world.diaries)
        assert second.first_step == first.last_step, "what was done last was saved, and nothing is done twice"
        assert diaries.double_runs([first, second]) == []
        events = world.read("/v1/events", limit="1000")["items"]
        (told,) = (e["at"] for e in events if e["kind"] == "node.notice")
        bought = [e["at"] for e in events if e["kind"] == "node.state" and e["new"] == "requested" and e["at"] > told]
        ended = [e["at"] for e in events if e["kind"] == "attempt.state" and e["new"] == "ended"]
        assert len(bought) == 1
        assert bought[0] <= ended[0], "the replacement was bought while the program saved"
        print(f"from the notice to the signal: {_told_at(world) - world.machines.warned_at:.2f} s")


def _ended(world: World) -> dict[str, Any] | None:
    job = world.job("job")
    return job if job["state"] in {"succeeded", "failed", "cancelled"} else None


def _told_at(world: World) -> float:
    """When the program heard the signal, in seconds since the epoch."""
    (path,) = world.diaries.glob("1-0-*.jsonl")
    return next(float(e["wall"]) for e in map(json.loads, path.read_text().splitlines()) if e["what"] == "told")
