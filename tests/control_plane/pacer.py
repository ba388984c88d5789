"""A process that calls a cloud at the pace that it shares with others: DATABASE CLOUD CALLS. Says when it began."""

import random
import sys
import time
from dataclasses import replace
from pathlib import Path

from godwit.control_plane.executors.pacing import Paces
from godwit.control_plane.store.database import Database, open_engine
from godwit.domain.clock import SystemClock
from godwit.providers import lambdalabs, registry
from godwit.providers.kinds import Rates, Setup
from godwit.providers.layers import CallMetrics

from tests.emulators.emulator import API_KEY

CALLS_PER_S = 2.0


def main(database: str, cloud: str, calls: int) -> None:
    """Ask for what the account holds, so many times."""
    paces = Paces()
    paces.share(Database(open_engine(database)))
    kind = replace(lambdalabs.KIND, rates=Rates(calls_per_s=CALLS_PER_S))
    setup = Setup("cloud", Path("/nowhere"), SystemClock(), random.Random(1), {"url": cloud}, {"api_key": API_KEY})
    provider = registry.layered(kind, setup, CallMetrics(), paces.of)
    sys.stdin.readline()
    sys.stdout.write(f"{time.time()}\n")
    sys.stdout.flush()
    for _ in range(calls):
        provider.instances()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
