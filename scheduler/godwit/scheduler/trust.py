"""What godwit's own history says of an offer: how much of what is paid for there turns into work."""

from dataclasses import dataclass

PRIOR_USABLE, PRIOR_UNUSABLE = 9.0, 1.0
"""Before there is a history nine launches of ten are taken to end in a usable node: a Beta(9, 1) prior, which a dozen
launches outweigh."""

PRIOR_LOSSES, PRIOR_HOURS = 0.13, 480.0
"""Twenty node-days at 6.5 failures per 1,000 node-days, as measured on a research cluster of 16,000 A100s (Kokolis et
al., "Revisiting Reliability in Large-Scale Machine Learning Research Clusters", arXiv 2410.21680)."""

PRIOR_SPOT_LOSSES, PRIOR_SPOT_HOURS = 1.0, 4.0
"""A spot machine is taken to be lost every fourth hour until a morning's experience says otherwise. V100s on spot in
three public traces were lost 1,035 times in 3,829 hours, 0.27 an hour, between 0.16 and 0.61 by trace: preemptions at
AWS of Wu et al. ("Can't Be Late", NSDI'24) and fleets at AWS and GCP of Thorpe et al. (Bamboo, NSDI'23)."""

LOSS_COSTS_H = 0.5
"""What a lost node costs its gang, in hours of work: steps since the last checkpoint, finding out, starting again."""


@dataclass(frozen=True)
class Record:
    """What happened with one offer: launches refused, machines that never became usable, nodes that did (and how many
    seconds that took in all), nodes that were lost, and the hours that nodes of it lived."""

    refusals: int = 0
    failures: int = 0
    ready: int = 0
    ready_s: float = 0.0
    losses: int = 0
    hours: float = 0.0

    @property
    def score(self) -> float:
        """The expected share of what is paid for that becomes work, between 0 and 1; `UNKNOWN` scores 0.9 about."""
        return self.usable / (1 + LOSS_COSTS_H * self.losses_per_hour(is_spot=False))

    @property
    def usable(self) -> float:
        """The expected share of launches that end in a usable node."""
        tries = self.ready + self.refusals + self.failures
        return (self.ready + PRIOR_USABLE) / (tries + PRIOR_USABLE + PRIOR_UNUSABLE)

    def losses_per_hour(self, *, is_spot: bool) -> float:
        """How often a node of this offer is expected to be lost: what was seen, and the prior of its market."""
        losses, hours = (PRIOR_SPOT_LOSSES, PRIOR_SPOT_HOURS) if is_spot else (PRIOR_LOSSES, PRIOR_HOURS)
        return (self.losses + losses) / (self.hours + hours)


UNKNOWN = Record()
"""An offer that was never tried."""
