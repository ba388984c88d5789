"""Replicas of the simulated world: programs that serve."""

from typing import Any

from godwit.agents.effects import Noticed, Replica
from godwit.agents.state import AgentState

from tests.simulation.machines import SimMachine

WARM_AFTER = 3
"""Steps of a program until it answers its probe."""


class ServingMachine(SimMachine):
    """A machine whose agent says which replicas on it take requests, and which notice its provider gave."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.silent_until = 0.0
        self.notice: Noticed | None = None
        self._said: dict[str, bool] = {}

    def kill_agent(self, back_at: float) -> None:
        """As without replicas; the next agent asks each replica again, and says what it finds."""
        super().kill_agent(back_at)
        self._said.clear()

    def _report_ends(self, agent: AgentState, now: float) -> None:
        super()._report_ends(agent, now)
        if self.notice is not None:
            notice, self.notice = self.notice, None
            self._do(agent, agent.noticed(notice), now)
        for attempt_id, run in self.runs.items():
            if run.command.serve is None or not run.alive or not run.told_running:
                continue
            ready = run.step >= WARM_AFTER and now >= self.silent_until
            if self._said.get(attempt_id, False) is not ready:
                self._said[attempt_id] = ready
                agent.runtime(Replica(attempt_id, ready, 9_000, "" if ready else "it does not answer"), now)
