"""Who lags in one attempt: judged for the whole gang on its head, and told by the node whose rank it is."""

from collections.abc import Callable, Mapping
from typing import Any

from godwit.agents.checks.work.gang import Gang, Place
from godwit.agents.checks.work.ranks import RankWindows, Windows, merged
from godwit.agents.checks.work.reports import Report
from godwit.domain import pace
from godwit.domain.health import Grade
from godwit.domain.pace import Straggler

ASK_S = 30.0
"""How often the head asks the other nodes: windows of 16 steps are seldom shorter."""


class LagWatch:
    """Gathers what ranks report here. `tell` reports a finding of this node's, as `gang` carries them."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None], place: Place | None) -> None:
        self._tell = tell
        self._own = 0 if place is None else place.rank
        self._leads = place is None or place.leads
        self._gang = None if place is None else Gang(place)
        self._ranks = RankWindows()
        self._told: dict[int, int] = {}
        self._ask_at = 0.0

    @property
    def windows(self) -> Windows:
        """What the head asks for."""
        return self._ranks.complete

    def saw(self, report: Report) -> None:
        """Count what a report says of its rank's speed, if it does."""
        if report.rank is not None and report.compute_s is not None and report.compute_s > 0:
            self._ranks.saw(report.rank, report.step, report.compute_s)

    def look(self, now: float) -> None:
        """Judge, on the head; may block while nodes are asked. `now` is in seconds and never goes back."""
        if not self._leads or now < self._ask_at:
            return
        self._ask_at = now + (0.0 if self._gang is None else ASK_S)
        parts = {self._own: self.windows, **({} if self._gang is None else self._gang.windows())}
        home = {rank: node for node, part in parts.items() for window in part.values() for rank in window}
        slow = {one.rank: one for one in pace.stragglers(list(merged(parts.values()).values()))}
        for rank in sorted(self._told.keys() - slow.keys()):
            if self._say(self._told[rank], _over(rank)):
                del self._told[rank]
        for rank, one in sorted(slow.items()):
            if rank not in self._told and self._say(home[rank], _finding(one)):
                self._told[rank] = home[rank]

    def _say(self, node: int, finding: Mapping[str, Any]) -> bool:
        if node == self._own or self._gang is None:
            self._tell(finding)
            return True
        return self._gang.tell(node, finding)


def _finding(one: Straggler) -> dict[str, Any]:
    reason = f"rank {one.rank} takes {one.lag:.0%} longer than the others, in {one.windows} windows in a row"
    evidence = {"rank": one.rank, "lag": round(one.lag, 3), "windows": one.windows}
    return {
        "check": "straggler", "grade": Grade.DEGRADED.value, "reason": reason, "code": f"straggler:{one.rank}",
        "evidence": evidence,
    }  # fmt: skip


def _over(rank: int) -> dict[str, Any]:
    return {
        "check": "straggler", "grade": Grade.HEALTHY.value, "reason": f"rank {rank} keeps up again",
        "code": f"straggler:{rank}", "evidence": {"rank": rank},
    }  # fmt: skip
