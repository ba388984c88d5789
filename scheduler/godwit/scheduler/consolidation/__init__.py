"""When moving running jobs pays, so that whole nodes or a whole domain go back: see `proposals`."""

from godwit.scheduler.consolidation.arithmetic import Limits
from godwit.scheduler.consolidation.proposals import Move, Proposal, proposals

__all__ = ["Limits", "Move", "Proposal", "proposals"]
