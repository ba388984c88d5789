"""Published policies, which ours is measured against: greedy and Uniform Progress (Wu et al., NSDI'24, sections 3, 5).

Both keep to the rules of the paper: nothing runs on once the work is done (thrifty), a job stays on a spot machine
until that is lost (exploitation), and goes on demand for good when time is short (safety net). They take the first
place.
"""

from godwit.scheduler.spot.situation import EPSILON_H, Choice, Situation, Where


def greedy(at: Situation) -> Choice:
    """Spot whenever it is there, else wait; on demand from when nothing else is in time, until the end."""
    if at.where is not Where.NOWHERE:
        return Choice(at.where)
    if at.places and at.may_try_spot:
        return Choice(Where.SPOT, at.places[0])
    return Choice(Where.NOWHERE if _can_idle(at) else Where.ON_DEMAND)


def uniform_progress(at: Situation) -> Choice:
    """Spot whenever it is there; on demand while idle and behind a steady pace, until two changeovers ahead of it.

    One that is on demand stays there while there is no spot capacity: so does the authors' own code.
    """
    if at.where is Where.SPOT:
        return Choice(Where.SPOT)
    if at.where is Where.ON_DEMAND:
        ahead = _ahead_h(at, 2 * at.task.changeover_h) >= 0
        may = at.slack_h >= 2 * at.task.changeover_h
        return Choice(Where.SPOT, at.places[0]) if at.places and ahead and may else Choice(Where.ON_DEMAND)
    if at.places and at.may_try_spot:
        return Choice(Where.SPOT, at.places[0])
    return Choice(Where.NOWHERE if _can_idle(at) and _ahead_h(at, 0.0) >= -EPSILON_H else Where.ON_DEMAND)


def _can_idle(at: Situation) -> bool:
    return at.slack_h - at.look_h >= 2 * at.task.changeover_h - EPSILON_H


def _ahead_h(at: Situation, later_h: float) -> float:
    """Hours of work that are done beyond what a steady pace had done `later_h` from now."""
    task = at.task
    passed_h = task.window_h - at.until_h + later_h
    return task.work_h - at.left_h - passed_h * task.work_h / task.window_h
