"""A disk that is full: what cannot be written is not done, and the agent ends rather than go on without a journal."""

import errno
from pathlib import Path

import pytest
from godwit.agents import core
from godwit.agents.effects import Effect, StartRuntime
from godwit.agents.state import AgentState
from godwit.domain.wire.agents import StartAttempt

START = StartAttempt(
    intent_id="intent-1", job_id="job-1", job_name="digits", attempt_id="attempt-1", epoch=1, rank=0, peers=[],
    gpus=[0], port=6_379, ray_token="t", run="true", setup="", workdir_digest=None, env={}, store="file:///s",
)  # fmt: skip


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written from now on."""

    def refuse(_path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(core, "write_whole", refuse)


def leased(state: AgentState, now: float) -> list[Effect]:
    state.renewed(now, 60.0)
    return []


def test_a_command_that_cannot_be_written_down_is_not_carried_out_and_the_agent_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[Effect] = []
    before = core.Core(AgentState("agent-one"), tmp_path, done.append)
    before.apply(leased)
    with monkeypatch.context() as full:
        fill(full)
        with pytest.raises(core.JournalLost, match="No space left"):
            before.command(START)
    # There is room again, but what this process believes was never written.
    assert before.urgent.is_set()
    with pytest.raises(core.JournalLost):
        before.heartbeat()
    with pytest.raises(core.JournalLost):
        before.command(START)
    assert not done
    after = core.Core(core.load(tmp_path, "agent-one"), tmp_path, done.append)
    after.command(START)
    assert [type(effect) for effect in done] == [StartRuntime], "the control plane repeats what nobody answered"


def test_a_lease_that_cannot_be_written_down_ends_the_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fill(monkeypatch)
    keeper = core.Core(AgentState("agent-one"), tmp_path, lambda _effect: None)
    with pytest.raises(core.JournalLost):
        keeper.renewed(1.0, 60.0)
