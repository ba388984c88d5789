"""What it costs to finish from where a job stands, if every choice from here on is the best: a dynamic programme.

Time until the deadline goes in steps, and slack with it. In a state (steps left, steps of slack, on what it runs, how
old the market's present spell is) a job goes on, waits, or changes over:

    going on    price x step                             the slack stays
    waiting     nothing                                  a step less slack
    changeover  price x step of the new machine          a changeover less slack

Spells end at the rates that were learned (`spells`), band by band of age; a spot machine that is lost leaves its job
nowhere, with another place to go to or not (`Market.elsewhere`). Waiting and spot are only tried where the rules on
slack allow them (`situation`). Costs are in hours of the on-demand price. Rates are rounded to half octaves and prices
to hundredths, so that one table serves many looks, and jobs alike.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, log2

import numpy as np
from godwit.scheduler.spot.situation import EPSILON_H, Situation
from godwit.scheduler.spot.spells import BANDS, WIDTHS_H, Lifetimes
from numpy.typing import NDArray

STEPS = 150
"""Steps until the deadline, unless a changeover is longer. With 300 the costs on public traces were alike."""

TABLES = 64
"""Tables that are remembered, about 700 KB each: looks at one job need few, as their rates move slowly."""

NEVER = 1e6
"""The cost of missing a deadline; finite, so that it can be weighed by odds of 0."""

Costs = NDArray[np.float64]
Layer = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Model:
    """What a table depends on. Rates are powers of the square root of two, `price` and `elsewhere` hundredths."""

    window_h: float
    slack_h: float
    reserve: float
    changeover_h: float
    unseen_h: float
    price: int
    lasts: tuple[int, ...]
    there: tuple[int, ...]
    away: tuple[int, ...]
    elsewhere: int

    @property
    def step_h(self) -> float:
        """How long a step is."""
        return max(self.changeover_h, self.window_h / STEPS)


def model_of(at: Situation, lasts: Lifetimes, usd_per_hour: float) -> Model:
    """The model behind a situation, if the place to run in costs that much and lasts so long."""
    task, market = at.task, at.market
    price = round(100 * usd_per_hour / task.usd_per_hour)
    rates = [_half_octaves(one) for one in (lasts, market.there, market.away)]
    window_h = max(task.window_h, at.until_h)
    slack_h = max(0.0, window_h - task.work_h, at.slack_h)
    elsewhere = 10 * round(10 * market.elsewhere)
    return Model(
        window_h,
        slack_h,
        task.reserve,
        task.changeover_h,
        task.unseen_h,
        price,
        rates[0],
        rates[1],
        rates[2],
        elsewhere,
    )


def _half_octaves(lifetimes: Lifetimes) -> tuple[int, ...]:
    return tuple(round(2 * log2(rate)) for rate in lifetimes.per_hour)


@dataclass(frozen=True)
class Table:
    """Costs to the end: steps left x steps of slack x the market's spell; `spot` x the band of the place's own age.

    The market's spells are the bands of age in which there is capacity, then those in which there is none. `next` are
    the odds of its next spell by its present one, `stays` and `lost` those of a spot machine.
    """

    step_h: float
    changeover_steps: float
    nowhere: Layer
    spot: Layer
    on_demand: Layer
    next: Costs
    stays: Costs
    lost: Costs


@lru_cache(TABLES)
def table(model: Model) -> Table:
    """Work backwards from the deadline."""
    step_h, slack_steps = model.step_h, ceil(model.slack_h / model.step_h) + 1
    odds, stays, lost = _market(model), *_machine(model)
    steps = ceil(model.window_h / step_h) + 1
    shape = (steps, slack_steps)
    nowhere, on_demand = (np.zeros((*shape, 2 * BANDS), np.float32) for _ in range(2))
    spot = np.zeros((*shape, BANDS), np.float32)
    change = model.changeover_h / step_h
    units = np.arange(slack_steps)[:, None]
    slack_h = units * step_h
    soon_enough = slack_h - step_h >= model.changeover_h - EPSILON_H
    may_try = slack_h >= 2 * model.changeover_h + model.unseen_h - EPSILON_H
    price = model.price / 100 * step_h
    for left in range(1, steps):
        may_wait = soon_enough & (units >= model.reserve * (left - units) - EPSILON_H)
        idle, paid = nowhere[left - 1] @ odds.T, on_demand[left - 1] @ odds.T
        taken = spot[left - 1] @ stays.T + nowhere[left - 1] @ lost.T
        best = np.minimum(np.where(may_wait, less(idle, 1.0), NEVER), step_h + less(paid, change))
        best[:, :BANDS] = np.minimum(best[:, :BANDS], np.where(may_try, price + less(taken, change), NEVER))
        works = units < left
        nowhere[left] = np.where(works, best, 0.0)
        on_demand[left] = np.where(works, np.minimum(best, step_h + paid), 0.0)
        spot[left] = np.where(works, np.minimum(best[:, :BANDS], price + taken), 0.0)
    return Table(step_h, change, nowhere, spot, on_demand, odds, stays, lost)


def less(costs: Costs, steps: float) -> Costs:
    """Costs by slack, with `steps` (up to 1) of it less; in between they are taken to be straight."""
    one_less = np.concatenate([np.full_like(costs[:1], NEVER), costs[:-1]])
    return (1 - steps) * costs + steps * one_less


def _market(model: Model) -> Costs:
    """The odds of the market's spell a step later, by the present one."""
    odds = np.zeros((2 * BANDS, 2 * BANDS))
    for mine, other, rates in ((0, BANDS, model.there), (BANDS, 0, model.away)):
        odds[mine : mine + BANDS, mine : mine + BANDS], ends = _ageing(rates, model.step_h)
        odds[mine : mine + BANDS, other] = ends
    return odds


def _machine(model: Model) -> tuple[Costs, Costs]:
    """The odds of a spot machine's band a step later; and if it is lost, those of the market's spell."""
    stays, ends = _ageing(model.lasts, model.step_h)
    lost = np.zeros((BANDS, 2 * BANDS))
    elsewhere = model.elsewhere / 100
    lost[:, :BANDS] = np.diag(ends * elsewhere)
    lost[:, BANDS] = ends * (1 - elsewhere)
    return stays, lost


def _ageing(rates: tuple[int, ...], step_h: float) -> tuple[Costs, Costs]:
    """The odds of each band a step later by the present one, while a spell lasts; and those that it ends."""
    ends = 1 - np.exp(-(2.0 ** (np.array(rates) / 2)) * step_h)
    older = np.array([min(1.0, step_h / width_h) for width_h in WIDTHS_H])
    lasts = np.diag((1 - ends) * np.append(1 - older, 1.0))
    lasts[np.arange(BANDS - 1), np.arange(1, BANDS)] = (1 - ends[:-1]) * older
    return lasts, ends
