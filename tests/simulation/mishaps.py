"""What may be wrong with a simulated cloud."""

import random

from godwit.providers.simulated.faults import Faults


def of_a_cloud(rng: random.Random) -> Faults:
    """One thing at a time, or nothing any more."""
    return rng.choice(
        [
            Faults(lose_answers=rng.randint(1, 2)),
            Faults(fail_launches=rng.randint(1, 3)),
            Faults(refuse_capacity={"*": rng.randint(1, 3)}),
            Faults(rate_limit=rng.randint(1, 5)),
            Faults(unavailable=True),
            Faults(list_lag_s=rng.uniform(1, 6)),
            Faults(delay_s=rng.uniform(0.1, 1.0)),
            Faults(),
        ]
    )
