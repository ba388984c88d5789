"""What an hour of work is expected to cost on an offer, in dollars: the number by which purchases are compared.

For a gang of n nodes with T hours of work left on the GPU model that it names first:

    worked_h  = T / speed                                      hours of work on this model (`speeds`)
    slowdown  = M e^(R/M) (e^(C/M) - 1) / C                    M = 1 / (n x losses per hour): hours between losses
    paid_h    = worked_h x slowdown + ready_h + transfer_h     what one node is paid for
    usd       = (price x paid_h / launches + egress / n) / T   launches: the share of tries that end in a usable node

C is the time between checkpoints and R what a loss takes besides lost work: a new machine, and starting again. The
slowdown is Daly's model of a job with exponential failures ("A higher order estimate of the optimum checkpoint interval
for restart dumps", FGCS 22(3), 2006, eq. 20, without the time that saving takes); for few losses it is 1 + (R + C/2)/M.
It takes the nodes of the gang to be alike, since each loss stops them all.
"""

from dataclasses import dataclass
from math import exp, expm1, isfinite, log2

from godwit.domain.jobs import Data, Job, JobKind
from godwit.domain.offers import Offer
from godwit.scheduler import gravity
from godwit.scheduler.demands import Demand
from godwit.scheduler.market import speeds
from godwit.scheduler.trust import Record

UNKNOWN_RUN_S = 4 * 3600.0
"""How long a job is taken to run where nobody knows. Jobs of the Philly trace ran 3.8 hours on average (52,849 jobs of
September and October 2017; Jeon et al., ATC'19)."""

READY_S = 240.0
"""From a launch to a usable node before there is a history, which counts as much as one launch that was seen."""

RESTART_S = 60.0
"""What starting a gang again takes once its nodes are there: a Ray cluster, and a checkpoint to read."""

SAVES_EVERY_S = 1800.0
"""The time between checkpoints where nobody knows: a choice. Half of it, a new machine and a restart make 20 minutes
for a loss."""

MOST_MICROS = 10**15
"""A bound, so that sums stay whole numbers of a sane size: a billion dollars for an hour of work."""

_MOST_EXPONENT = 50.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a gang still has to do: `run_s` on the GPU model that it names first of `models`, on `nodes` nodes.

    `data` is what it reads, which is moved once to where it runs (`gravity`).
    """

    run_s: float = UNKNOWN_RUN_S
    nodes: int = 1
    models: tuple[str, ...] = ()
    saves_every_s: float = SAVES_EVERY_S
    data: tuple[Data, ...] = ()

    @classmethod
    def of(cls, job: Job, demand: Demand) -> "Work":
        """A job's. Run times are rounded to powers of four, from 4 minutes to 3 days: they are guesses, asks alike are
        weighed together, and beyond that the time to ready hardly counts.

        What does not end by itself, a service or a workspace, is not done sooner on a faster GPU.
        """
        left_s = demand.estimate_s
        known = left_s is not None and isfinite(left_s)
        run_s = 4.0 ** round(log2(min(2.0**18, max(2.0**8, left_s or 0.0))) / 2) if known else UNKNOWN_RUN_S
        models = demand.ask.models if job.spec.kind is JobKind.TRAIN and demand.ask.gpus else ()
        return cls(run_s, demand.nodes_min, models, demand.saves_every_s or SAVES_EVERY_S, demand.ask.data)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a node of `offer` costs: millionths of a dollar for an hour of work, and how that came about."""

    offer: Offer
    usd_micros: int
    speed: float
    ready_s: float
    losses_per_hour: float
    slowdown: float
    launches: float
    egress_usd: float = 0.0
    transfer_h: float = 0.0

    def __str__(self) -> str:
        """The arithmetic, as people read it."""
        parts = [f"${self.offer.price_usd_per_hour:.2f}/h", f"ready in {self.ready_s / 60:.0f} min"]
        if self.slowdown >= 1.005:  # less than that is not worth a reader's time
            parts.append(f"{self.losses_per_hour:.2g} losses/h of the gang make it {self.slowdown - 1:.0%} longer")
        if self.launches < 1:
            parts.append(f"{self.launches:.0%} of launches come")
        if self.speed != 1.0:
            parts.append(f"{self.speed:.2g} x as fast")
        if self.transfer_h:
            parts.append(f"its data is elsewhere: ${self.egress_usd:.2f} and {self.transfer_h:.1f} h to move it")
        return f"{self.offer.key} ${self.usd_micros / 1e6:.2f} per hour of work ({', '.join(parts)})"


def of(offer: Offer, record: Record, work: Work) -> Expected:
    """What a node of this offer is expected to cost, for an hour of this work. Its price is finite and not negative."""
    speed = speeds.relative(offer.gpu_model, work.models)
    ready_s = (record.ready_s + READY_S) / (record.ready + 1)
    losses_per_hour = work.nodes * record.losses_per_hour(is_spot=offer.spot)
    slowdown = _slowdown(losses_per_hour, ready_s + RESTART_S, work.saves_every_s)
    hours = work.run_s / 3600
    egress_usd = gravity.egress_usd(work.data, offer.provider, offer.region)
    transfer_h = gravity.transfer_h(work.data, offer.provider, offer.region)
    paid_h = hours / speed * slowdown + ready_s / 3600 + transfer_h
    usd = (offer.price_usd_per_hour * paid_h / record.usable + egress_usd / work.nodes) / hours
    micros = round(min(usd * 1e6, MOST_MICROS))
    return Expected(offer, micros, speed, ready_s, losses_per_hour, slowdown, record.usable, egress_usd, transfer_h)


def _slowdown(losses_per_hour: float, restart_s: float, saves_every_s: float) -> float:
    """Paid time over work, 1 at least."""
    saves_h, restart_h = saves_every_s / 3600, restart_s / 3600
    restarting = exp(min(_MOST_EXPONENT, restart_h * losses_per_hour))
    working = expm1(min(_MOST_EXPONENT, saves_h * losses_per_hour)) / (saves_h * losses_per_hour)
    return restarting * working
