"""godwit's choice for a job with a deadline: wait, spot or on demand, whichever is expected to cost least to its end.

The rules on slack (`situation`) say what keeps the deadline; among that, `worth` says what it costs. A job on a spot
machine stays until that is lost: nothing is cheaper, and a changeover costs (the exploitation rule of Wu et al.,
NSDI'24, section 3). Of several places the one is taken that costs least, with a changeover for each loss reckoned in.
"""

from math import ceil, floor

from godwit.scheduler.spot import worth
from godwit.scheduler.spot.situation import EPSILON_H, Choice, Place, Situation, Where
from godwit.scheduler.spot.spells import BANDS, band_of


def choose(at: Situation) -> Choice:
    """On what the job should run now, and why. Pure; a few milliseconds when its odds are new, microseconds else."""
    if at.where is Where.SPOT:
        return Choice(Where.SPOT, because="it stays on its spot machines until they are lost: nothing costs less")
    if at.left_h <= EPSILON_H:
        return Choice(Where.NOWHERE, because="nothing is left to do")
    if at.where is Where.ON_DEMAND and at.left_h <= at.task.changeover_h:
        return Choice(Where.ON_DEMAND, because="what is left is less than a changeover")
    if not at.may_wait and not at.may_try_spot:
        return Choice(Where.ON_DEMAND, because=f"safety net: {_slack(at)}, and no more than a changeover needs")
    place = min(at.places, key=lambda one: _usd_per_hour_of_work(at, one)) if at.places and at.may_try_spot else None
    costs = _costs(at, place)
    where = min(costs, key=lambda one: (costs[one], one is not at.where))
    return Choice(where, place if where is Where.SPOT else None, _because(at, costs))


def _usd_per_hour_of_work(at: Situation, place: Place) -> tuple[float, str]:
    return (place.usd_per_hour * (1 + at.task.changeover_h * place.lasts.at(place.age_h)), place.name)


def _costs(at: Situation, place: Place | None) -> dict[Where, float]:
    """Expected dollars until it is done, if it goes on so for a step and chooses best after that."""
    market = at.market
    lasts, price = (market.lasts, market.usd_per_hour) if place is None else (place.lasts, place.usd_per_hour)
    table = worth.table(worth.model_of(at, lasts, price))
    left = ceil((at.until_h - at.starting_h) / table.step_h - EPSILON_H)
    left = min(max(1, left), len(table.nowhere) - 1)
    slack = max(0.0, at.slack_h) / table.step_h
    odds = table.next[band_of(at.market.age_h) + (0 if at.places else BANDS)]
    changed = slack - table.changeover_steps
    costs = {}
    stays = at.where is Where.ON_DEMAND
    costs[Where.ON_DEMAND] = table.step_h + _later(table.on_demand[left - 1], slack if stays else changed, odds)
    if at.may_wait:
        costs[Where.NOWHERE] = _later(table.nowhere[left - 1], slack - 1, odds)
    if place is not None:
        band = band_of(place.age_h)
        later = _later(table.spot[left - 1], changed, table.stays[band])
        later += _later(table.nowhere[left - 1], changed, table.lost[band])
        costs[Where.SPOT] = place.usd_per_hour / at.task.usd_per_hour * table.step_h + later
    return {where: cost * at.task.usd_per_hour for where, cost in costs.items()}


def _later(costs: worth.Layer, slack: float, odds: worth.Costs) -> float:
    """The cost a step later, with this many steps of slack then; in between those of the table it is interpolated."""
    slack = min(max(slack, 0.0), len(costs) - 1.0)
    low = floor(slack)
    high = min(low + 1, len(costs) - 1)
    return float(((low + 1 - slack) * costs[low] + (slack - low) * costs[high]) @ odds)


def _slack(at: Situation) -> str:
    return f"{at.until_h:.1f} h until the deadline, {at.left_h:.1f} h of work left, {at.slack_h:.1f} h to spare"


def _because(at: Situation, costs: dict[Where, float]) -> str:
    told = ", ".join(f"{where} ${cost:,.2f}" for where, cost in sorted(costs.items(), key=lambda one: one[1]))
    return f"expected until it is done: {told} ({_slack(at)})"
