"""What is told of the end of a program names no secret, even if one was its last word."""

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from godwit.agents.checks.work import crash
from godwit.agents.effects import RuntimeEvent, Stopped
from godwit.agents.runtime import guard
from godwit.agents.runtime.attempt import AttemptRun, Surroundings
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.held import Held
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.domain.wire.agents import Peer, StartAttempt
from godwit.domain.wire.replicas import Serve
from godwit.domain.wire.secrets import AttemptSecrets

VALUE = "hf_K7tq/Zr+8wXb-secret-of-nobody"
LAST_WORD = 'echo "it has $HF_TOKEN"; echo "CUDA error: the key $HF_TOKEN is refused"; exit 3'


def command_of(folder: Path, run: str, setup: str | None) -> StartAttempt:
    """A plain process that serves, which needs no Ray."""
    return StartAttempt(
        intent_id="start-1", job_id="job-1", job_name="a", attempt_id="att-1", epoch=1, rank=0,
        peers=[Peer(rank=0, node_id="node-1", address="127.0.0.1")], gpus=[], port=20_000,
        ray_token=secrets.token_hex(32), run=run, setup=setup, workdir_digest=None, env={},
        store=f"file://{folder}/store", has_secrets=True, serve=Serve(ray=False),
    )  # fmt: skip


def end_of(folder: Path, run: str, setup: str | None = None) -> Stopped:
    """Run it to its end under a real guard, as an agent does; what the agent is told of its end."""
    guard.write_whole(folder / "lease", f"{guard.boottime_s() + 120.0} boot")
    told: list[RuntimeEvent] = []
    held = Held(lambda: AttemptSecrets(values={"HF_TOKEN": VALUE}))
    facts = NodeFacts("127.0.0.1", 1, "python3", simulated=True)
    around = Surroundings(cast(Any, None), facts, dict(os.environ), told.append, secrets=held)
    of = AttemptFolder(folder, "att-1")
    # In a thread of its own, as an agent has it: what its log lines are told stays there.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(AttemptRun(command_of(folder, run, setup), of, Custody(of, folder / "lease"), around).run).result()
    assert f"it has {VALUE}" in of.output.read_text(), "it said it"
    (end,) = (event for event in told if isinstance(event, Stopped))
    return end


@pytest.mark.parametrize("words", [{"run": LAST_WORD}, {"run": "sleep 600", "setup": LAST_WORD}], ids=["run", "setup"])
def test_the_end_of_a_program_whose_last_word_is_its_secret_shows_stars(tmp_path: Path, words: dict[str, str]) -> None:
    end = end_of(tmp_path, **words)
    assert (end.outcome, end.exit_code) == ("failed", 3)
    assert end.last_lines[-2:] == (f"it has {'*' * len(VALUE)}", f"CUDA error: the key {'*' * len(VALUE)} is refused")
    assert VALUE not in repr(end)


def test_what_is_suspected_of_such_an_end_shows_stars_too(tmp_path: Path) -> None:
    """A line that names an error of GPUs is quoted, and goes into incidents."""
    found = crash.attribution(end_of(tmp_path, LAST_WORD))
    assert found is not None
    assert f"the key {'*' * len(VALUE)} is refused" in found.reason
    assert VALUE not in repr(found)
